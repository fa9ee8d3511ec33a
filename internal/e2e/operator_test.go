package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"perch/internal/testdb"
	"perch/sandbox"
)

// says fails the test when a command ended otherwise.
func (p *perch) says(code int, want string) {
	p.Helper()
	if said := p.out.String() + p.log.String(); p.awaitExit() != code || !strings.Contains(said, want) {
		p.Errorf("%q ended with %d and said %q, want %d and %q", p.args, p.awaitExit(), said, code, want)
	}
}

func TestTheOperatorEndsSessions(t *testing.T) {
	t.Parallel()
	p := start(t)
	robin, laptop, suzume := p.visitor(), p.visitor(), p.visitor()
	robin.signIn(account(t, "robin"))
	laptop.signIn(account(t, "robin"))
	suzume.signIn(account(t, "suzume"))
	greeted := func(want ...string) {
		t.Helper()
		for i, v := range []*visitor{robin, laptop, suzume} {
			if got := v.get("/").greets(); got != want[i] {
				t.Errorf("visitor %d is greeted as %q, want %q", i, got, want[i])
			}
		}
	}

	p.run("sessions", "end", "--account", account(t, "robin").ID).says(0, "2 sessions were ended.\n")
	greeted("", "", "suzume")
	p.run("sessions", "end", "--account", "404").says(1, `nobody with the user id "404" has signed in here`)
	p.run("sessions", "end").says(1, "--account=ID or --all")
	p.run("sessions", "end", "--all", "--account", "404").says(1, "--account=ID or --all")
	p.run("sessions", "end", "--all", "--account", "").says(1, "--account=ID or --all")
	p.run("sessions", "ends").says(1, "ends")
	p.run("sessions").says(1, "perch sessions needs to know what to do: end")
	robin.signIn(account(t, "robin"))
	greeted("robin", "", "suzume")
	p.run("sessions", "end", "--all").says(0, "2 sessions were ended.\n")
	greeted("", "", "")
}

// A wrong DATABASE_URL must not look like a database without sessions.
func TestTheOperatorEndsSessionsOfNoDatabase(t *testing.T) {
	t.Parallel()
	p := prepare(t)
	p.env["DATABASE_URL"] = "sqlite:elsewhere/perch.db"
	p.run("sessions", "end", "--all").says(1, "there is no database of Perch's")
	if _, err := os.Stat(filepath.Join(p.dir, "elsewhere")); err == nil {
		t.Error("one was made")
	}
}

// The operator's commands open the database that the server works on. Nothing
// that was acknowledged meanwhile is lost, and the server goes on.
func TestTheOperatorLooksWhilePeopleSignIn(t *testing.T) {
	t.Parallel()
	p := start(t, "LOGIN_RATE=0")
	ctx, stop := context.WithCancel(t.Context())
	var people sync.WaitGroup
	sessions := make([][]string, 3)
	for i := range sessions {
		v, as := p.visitor(), sandbox.DemoAccounts()[i]
		v.client.CheckRedirect = untilAcknowledged
		people.Go(func() {
			for ctx.Err() == nil {
				session, err := v.enter(as) // which ends the one before
				if err != nil {
					t.Error(err)
					return
				}
				sessions[i] = append(sessions[i], session)
			}
		})
	}
	for range 5 {
		p.run("doctor")
		p.run("sessions", "end", "--account", "404").says(1, "nobody with the user id")
	}
	stop()
	people.Wait()
	for i, all := range sessions {
		for j, session := range all {
			want := ""
			if j == len(all)-1 {
				want = sandbox.DemoAccounts()[i].ScreenName
			}
			if got := p.greets(session); got != want {
				t.Errorf("session %d of %d greets %q, want %q", j+1, len(all), got, want)
			}
		}
	}
	intact(t, p)
}

// After going back to an older Perch: it would not know what it reads.
func TestADatabaseOfANewerPerchStopsTheStart(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.stop()
	testdb.MakeNewer(t, p.env["DATABASE_URL"])
	p.run("serve").says(1, "the database is of a newer Perch (version 9999")
	p.run("sessions", "end", "--all").says(1, "the database is of a newer Perch (version 9999")
}
