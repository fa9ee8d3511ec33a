package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perch/internal/testdb"
	"perch/sandbox"
)

func TestFiftyKillsLoseNothingThatWasAcknowledged(t *testing.T) {
	t.Parallel()
	const kills = 50
	seed := rand.Uint64()
	t.Logf("the seed is %d", seed)
	chance := rand.New(rand.NewPCG(seed, kills))
	p := start(t, "LOGIN_RATE=0", "SANDBOX_CONSUMER_KEY=the-same-at-each-start", "SANDBOX_CONSUMER_SECRET=the-same-secret-as-well")
	visitors := p.regulars(6, seed)

	var starts []time.Duration
	var acknowledged atomic.Int64
	for range kills {
		var load sync.WaitGroup
		for _, v := range visitors {
			load.Go(func() { v.comeAndGo(&acknowledged) })
		}
		moment := acknowledged.Load() + chance.Int64N(12)
		await(t, "the moment to kill", func() bool { return acknowledged.Load() >= moment || t.Failed() })
		p.kill()
		load.Wait()
		p.start()
		starts = append(starts, time.Since(p.began))

		for _, v := range visitors {
			if got := p.greets(v.session); got != v.as.ScreenName && v.session != "" && !v.leaving {
				t.Fatalf("a sign-in as %s was acknowledged, and now the header greets %q", v.as.ScreenName, got)
			}
			for _, session := range v.over[max(0, len(v.over)-3):] {
				if got := p.greets(session); got != "" {
					t.Fatalf("a session's end was acknowledged, and now the header greets %q", got)
				}
			}
			if v.leaving {
				v.session, v.leaving = "", false // it may have ended, or not
			}
		}
	}

	over := 0
	for _, v := range visitors {
		over += len(v.over)
		for _, session := range v.over {
			if got := p.greets(session); got != "" {
				t.Errorf("a session's end was acknowledged, and in the end the header greets %q", got)
			}
		}
	}
	slices.Sort(starts)
	t.Logf("%d changes were acknowledged, %d of them ends; ready after %s at best, %s in the middle, %s at worst",
		acknowledged.Load(), over, starts[0].Round(time.Millisecond), starts[kills/2].Round(time.Millisecond), starts[kills-1].Round(time.Millisecond))
	if acknowledged.Load() < kills || over < kills {
		t.Errorf("%d changes were acknowledged: that is no load", acknowledged.Load())
	}
	if starts[kills/2] > 2*time.Second { // in the middle, for the machine may have more to do
		t.Errorf("ready after %s, want 2s", starts[kills/2])
	}
	intact(t, p)
}

// regular is a visitor who comes and goes, and remembers what was
// acknowledged.
type regular struct {
	*visitor
	as      sandbox.Account
	rand    *rand.Rand
	session string   // the cookie of the sign-in; empty when signed out
	leaving bool     // that session's end was asked for, and not acknowledged
	over    []string // sessions whose end was acknowledged
}

// regulars returns n of them. When there are more than accounts, some share one.
func (p *perch) regulars(n int, seed uint64) (all []*regular) {
	people := sandbox.DemoAccounts()
	for i := range n {
		v := &regular{visitor: p.visitor(), as: people[i%len(people)], rand: rand.New(rand.NewPCG(seed, uint64(i)))}
		v.client.CheckRedirect = untilAcknowledged
		all = append(all, v)
	}
	return all
}

// untilAcknowledged follows redirects as far as the answer that says that
// somebody was signed in, or out.
func untilAcknowledged(_ *http.Request, via []*http.Request) error {
	switch via[len(via)-1].URL.Path {
	case "/oauth-authorized", "/logout":
		return http.ErrUseLastResponse
	}
	return nil
}

// comeAndGo signs in and out until the program is gone. Now and then the
// visitor signs in anew, which ends the session before.
func (v *regular) comeAndGo(acknowledged *atomic.Int64) {
	for {
		v.leaving = v.session != ""
		session, err := v.enter(v.as)
		if err != nil {
			return
		}
		acknowledged.Add(1)
		v.ended()
		v.session = session
		if v.rand.IntN(3) == 0 {
			continue
		}
		v.leaving = true
		if _, err := v.try(v.request("/logout", url.Values{"here": {"/"}})); err != nil {
			return
		}
		acknowledged.Add(1)
		v.ended()
	}
}

func (v *regular) ended() {
	if v.session != "" {
		v.over = append(v.over, v.session)
	}
	v.session, v.leaving = "", false
}

// enter signs in as far as the answer that acknowledges it, and returns the
// session's cookie. It fails when the program is gone; that it answers
// anything else fails the test.
func (v *visitor) enter(as sandbox.Account) (session string, err error) {
	page, err := v.try(v.request("/login", nil))
	if err != nil {
		return "", err
	}
	page, err = v.try(v.decision(page, as, "authorize"))
	if err != nil {
		return "", err
	}
	for _, c := range page.resp.Cookies() {
		if c.Name == "perch-session" && page.resp.StatusCode == http.StatusSeeOther {
			return c.Value, nil
		}
	}
	err = fmt.Errorf("the sign-in led to %s (%s), where nobody was signed in", page.resp.Request.URL.Path, page.resp.Status)
	v.Error(err)
	return "", err
}

// greets returns whom the header greets when all that the browser has is this
// cookie.
func (p *perch) greets(session string) string {
	p.Helper()
	v := p.visitor()
	r := v.request("/", nil)
	r.AddCookie(&http.Cookie{Name: "perch-session", Value: session})
	return v.do(r).greets()
}

// intact fails unless the database says that nothing in it is damaged.
func intact(t *testing.T, p *perch) {
	t.Helper()
	db := testdb.Open(t, p.env["DATABASE_URL"])
	if !testdb.Postgres() {
		var found string
		if err := db.QueryRow(`PRAGMA integrity_check`).Scan(&found); err != nil || found != "ok" {
			t.Errorf("the database says %q, %v", found, err)
		}
	}
	var orphans int
	if err := db.QueryRow(`SELECT count(*) FROM sessions WHERE account_id NOT IN (SELECT id FROM accounts)`).Scan(&orphans); err != nil || orphans != 0 {
		t.Errorf("%d sessions belong to nobody, %v", orphans, err)
	}
}

// Not beside other tests: X and the database have a few seconds for all.
func TestTwoHundredSignInsAtOnce(t *testing.T) {
	const visitors, each = 200, 10 // browsers of one person: twenty are allowed
	x := &ownTwitter{}
	for i := range visitors / each {
		x.people = append(x.people, sandbox.Account{ID: fmt.Sprint(i + 1), ScreenName: fmt.Sprintf("visitor_%d", i), Name: "One of many"})
	}
	p := startWith(t, x, "LOGIN_RATE=0")

	sessions := make([]string, visitors)
	gun := make(chan struct{})
	var all sync.WaitGroup
	for i := range visitors {
		v, as := p.visitor(), x.people[i%len(x.people)]
		v.client.CheckRedirect = untilAcknowledged
		all.Go(func() {
			<-gun
			session, err := v.enter(as)
			if err != nil {
				t.Error(err)
				return
			}
			sessions[i] = session
			page, err := v.try(v.request("/", nil))
			if err != nil || page.greets() != as.ScreenName {
				t.Errorf("%s signed in and is greeted as %q, %v", as.ScreenName, page.greets(), err)
			}
		})
	}
	began := time.Now()
	close(gun)
	all.Wait()
	took := time.Since(began)

	for i, session := range sessions {
		if got, want := p.greets(session), x.people[i%len(x.people)].ScreenName; got != want {
			t.Errorf("in the end %s is greeted as %q", want, got)
		}
	}
	p.stop()
	done, slowest := 0, 0.0
	for _, line := range p.lines() {
		if status, _ := line["status"].(float64); status >= http.StatusInternalServerError {
			t.Errorf("a request failed: %v", line)
		}
		if line["msg"] == "login_ok" {
			done++
		}
		if route := line["route"]; route == "/login" || route == "/oauth-authorized" {
			slowest = max(slowest, line["duration_ms"].(float64))
		}
	}
	t.Logf("%d signed in within %s; of what had to ask X, the slowest took %.0f ms", visitors, took.Round(time.Millisecond), slowest)
	if done != visitors {
		t.Errorf("the log tells of %d sign-ins, want %d", done, visitors)
	}
	for _, words := range []string{"SQLITE_BUSY", "database is locked", "DATA RACE", "db_error"} {
		if strings.Contains(p.log.String(), words) {
			t.Errorf("the log says %s", words)
		}
	}
	intact(t, p)
}
