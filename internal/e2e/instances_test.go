package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"perch/internal/testdb"
	"perch/sandbox"
)

// site is what its visitors know the instances as.
const site = "https://your.site"

// A fleet is three instances over one database, with nginx in front as
// deploy/nginx.conf has it.
type fleet struct {
	testing.TB
	instances []*perch
	nginx     string // where it listens for TLS
	errors    string // where it tells of errors
}

func startFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{TB: t}
	first := prepare(t)
	first.env["BASE_URL"], first.env["TRUSTED_PROXIES"], first.env["LOGIN_RATE"] = site, "127.0.0.1", "0"
	first.env["SECRET_KEY"] = "a secret key as every instance has it"
	(&ownTwitter{}).standIn(first, site+"/oauth-authorized")
	for range 3 {
		p := prepare(t)
		for name, value := range first.env {
			if name != "ADDR" && name != "SANDBOX_ADDR" {
				p.env[name] = value
			}
		}
		p.start()
		f.instances = append(f.instances, p)
	}
	f.proxy(t)
	return f
}

// proxy starts nginx with the configuration that operators get.
func (f *fleet) proxy(t *testing.T) {
	t.Helper()
	conf, listen := nginxConf(t, map[string]string{
		"server 127.0.0.1:8080 ": "server " + f.instances[0].addr + " ",
		"server 127.0.0.1:8180 ": "server " + f.instances[1].addr + " ",
		"server 127.0.0.1:8280 ": "server " + f.instances[2].addr + " ",
	})
	f.nginx, f.errors = listen, filepath.Join(filepath.Dir(conf), "error.log")
	said := &output{}
	nginx := exec.Command(lookPath("nginx"), "-e", "stderr", "-c", conf, "-g", "daemon off;")
	nginx.Stdout, nginx.Stderr = said, said
	if err := nginx.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		nginx.Process.Signal(syscall.SIGQUIT)
		nginx.Wait()
		if t.Failed() {
			errors, _ := os.ReadFile(f.errors)
			t.Logf("nginx said:\n%s%s", said, errors)
		}
	})
	await(t, "nginx to listen", func() bool { return listens(listen) })
}

// A guest is a visitor of the site. They come by nginx, or where a test puts
// them, to one instance.
type guest struct {
	*visitor
	at *perch // nil: nginx chooses
}

func (f *fleet) guest() *guest {
	g := &guest{visitor: f.instances[0].visitor()}
	outside := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == "your.site:443" {
				addr = f.nginx
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // the certificate is httptest's
	}
	f.Cleanup(outside.CloseIdleConnections)
	g.client.Transport = overheard{f.instances[0], roundTrip(func(r *http.Request) (*http.Response, error) {
		if g.at == nil || r.URL.Host != "your.site" {
			return outside.RoundTrip(r)
		}
		inside := r.Clone(r.Context())
		inside.Host, inside.URL.Scheme, inside.URL.Host = r.URL.Host, "http", g.at.addr
		answer, err := outside.RoundTrip(inside)
		if err == nil {
			answer.Request = r
		}
		return answer, err
	})}
	return g
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// greeted fails the test unless each instance by itself greets the guest so.
func (f *fleet) greeted(who string, guests ...*guest) {
	f.Helper()
	for _, g := range guests {
		for i, p := range f.instances {
			g.at = p
			if got := g.get("/").greets(); got != who {
				f.Errorf("instance %d greets %q, want %q", i, got, who)
			}
		}
		g.at = nil
	}
}

// Several instances need PostgreSQL: a SQLite file is one instance's.
func TestInstances(t *testing.T) {
	t.Parallel()
	if testdb.Postgres() {
		t.Run("are one site", testInstancesAreOneSite)
		t.Run("are replaced while people sign in", testARollingRestart)
	}
}

// No visitor has to stay with one instance, not even half way through.
func testInstancesAreOneSite(t *testing.T) {
	t.Parallel()
	f := startFleet(t)
	a, b, c := f.instances[0], f.instances[1], f.instances[2]

	g := f.guest()
	g.at = a
	asked := g.consent("/")
	g.at = b
	if page := g.decide(asked, account(t, "robin"), "authorize"); page.greets() != "robin" || page.resp.Request.URL.String() != site+"/" {
		t.Errorf("the way back to another instance ends at %s and greets %q with %q", page.resp.Request.URL, page.greets(), page.notices())
	}
	f.greeted("robin", g)

	thief := f.guest()
	u, _ := url.Parse(site)
	thief.client.Jar.SetCookies(u, g.client.Jar.Cookies(u))
	f.greeted("robin", thief)
	g.at = c
	g.signOut()
	f.greeted("", g, thief)

	// The operator's command, too, reaches all of them at once.
	g.signIn(account(t, "suzume"))
	f.greeted("suzume", g)
	b.run("sessions", "end", "--all").says(0, "1 sessions were ended.")
	f.greeted("", g)

	// Through the proxy, every instance gets its part.
	before := make([]int, 3)
	for i, p := range f.instances {
		before[i] = strings.Count(p.log.String(), `"route":"/header"`)
	}
	for range 9 {
		g.get("/header")
	}
	for i, p := range f.instances {
		await(t, fmt.Sprintf("instance %d to be asked", i), func() bool {
			return strings.Count(p.log.String(), `"route":"/header"`) > before[i]
		})
	}
}

// The instances are replaced, one after the other, while people sign in and
// out. Nobody notices.
func testARollingRestart(t *testing.T) {
	t.Parallel()
	f := startFleet(t)
	stays := f.guest()
	stays.signIn(account(t, "robin"))

	ctx, stop := context.WithCancel(t.Context())
	var people sync.WaitGroup
	rounds := make([]int, 4)
	for i := range rounds {
		g, as := f.guest(), sandbox.DemoAccounts()[i]
		people.Go(func() {
			for ctx.Err() == nil {
				if !g.round(as) {
					return
				}
				rounds[i]++
			}
		})
	}
	for i, p := range f.instances {
		p.stop()
		before := len(p.log.String())
		p.launch()
		await(t, fmt.Sprintf("nginx to ask instance %d again", i), func() bool {
			return strings.Contains(p.log.String()[before:], `"route":"/login"`)
		})
	}
	stop()
	people.Wait()
	for i, n := range rounds {
		if n == 0 {
			t.Errorf("person %d was never in and out again", i)
		}
	}
	f.greeted("robin", stays)

	// To be refused sends nginx elsewhere. What it has sent must be answered.
	errors, err := os.ReadFile(f.errors)
	if err != nil {
		t.Fatal(err)
	}
	if cut := strings.Count(string(errors), "while reading response header"); cut > 0 {
		t.Errorf("%d requests were cut off", cut)
	}
}

// round signs in and out again, and tells whether all was well. It may run
// beside the test.
func (g *guest) round(as sandbox.Account) bool {
	in := g.decide(g.consent("/"), as, "authorize")
	if in.greets() != as.ScreenName {
		g.Errorf("signing in as %q: %s greets %q with %q", as.ScreenName, in.resp.Status, in.greets(), in.notices())
		return false
	}
	out := g.post("/logout", url.Values{"here": {"/"}})
	if out.greets() != "" || len(out.notices()) != 1 {
		g.Errorf("signing out: %s greets %q with %q", out.resp.Status, out.greets(), out.notices())
		return false
	}
	return true
}
