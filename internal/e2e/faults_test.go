package e2e

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"perch/internal/testdb"
)

// Whatever happens to the database: who needs it is told so and when to come
// back, no sign-in and no sign-out is said to be done that is not, and when it
// is over, all goes on by itself.
func TestTheDatabaseFailsForAWhile(t *testing.T) {
	t.Parallel()
	for _, fault := range databaseFaults() {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			p := prepare(t)
			p.faulty = true
			begin := fault.on(p)
			p.start()
			robin, suzume := p.visitor(), p.visitor()
			robin.signIn(account(t, "robin"))
			copied := robin.thief()
			asked := suzume.consent("/")

			end := begin()
			if got := p.probe("/readyz"); got != fault.ready {
				t.Errorf("readyz says %d, want %d", got, fault.ready)
			}
			if out := robin.post("/logout", url.Values{"here": {"/"}}); out.resp.StatusCode != http.StatusServiceUnavailable || out.resp.Header.Get("Retry-After") == "" {
				t.Errorf("signing out: %s, Retry-After %q", out.resp.Status, out.resp.Header.Get("Retry-After"))
			}
			if in := suzume.decide(asked, account(t, "suzume"), "authorize"); in.greets() != "" || !strings.Contains(strings.Join(in.notices(), ""), "We could not keep your sign-in") {
				t.Errorf("signing in: %s greets %q with %q", in.resp.Status, in.greets(), in.notices())
			}

			end()
			await(t, "readyz to say that all is well", func() bool { return p.probe("/readyz") == http.StatusOK })
			if got := robin.get("/").greets(); got != "robin" {
				t.Errorf("who did not get signed out is greeted as %q", got)
			}
			robin.signOut()
			if got := copied.get("/").greets(); got != "" {
				t.Errorf("after the sign-out a copy of the cookie greets %q", got)
			}
			suzume.signIn(account(t, "suzume"))
		})
	}
}

// A databaseFault is prepared on a program before it starts, begins, and ends.
type databaseFault struct {
	name  string
	ready int // what /readyz says meanwhile: a database that can be read is there
	on    func(p *perch) (begin func() (end func()))
}

func databaseFaults() []databaseFault {
	locked := databaseFault{"locked", http.StatusOK, func(p *perch) func() func() {
		return func() func() { return testdb.Lock(p, p.env["DATABASE_URL"]) }
	}}
	if !testdb.Postgres() {
		return []databaseFault{locked, {"moved away", http.StatusServiceUnavailable, func(p *perch) func() func() {
			path := strings.TrimPrefix(p.env["DATABASE_URL"], "sqlite:")
			move := func(from, to string) {
				if err := os.Rename(from, to); err != nil {
					p.Fatal(err)
				}
			}
			return func() func() {
				move(path, path+".away")
				return func() { move(path+".away", path) }
			}
		}}}
	}
	return []databaseFault{
		locked,
		{"gone", http.StatusServiceUnavailable, func(p *perch) func() func() { return relayed(p).refuse }},
		{"silent", http.StatusServiceUnavailable, func(p *perch) func() func() { return relayed(p).fallSilent }},
	}
}

// A relay is what stands between the program and PostgreSQL.
type relay struct {
	server   string
	mu       sync.Mutex
	open     []net.Conn
	refusing bool
	silence  sync.RWMutex // held while nothing comes through
}

// relayed puts a relay before the program's PostgreSQL.
func relayed(p *perch) *relay {
	p.Helper()
	u, err := url.Parse(p.env["DATABASE_URL"])
	if err != nil {
		p.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		p.Fatal(err)
	}
	r := &relay{server: u.Host}
	u.Host = listener.Addr().String()
	p.env["DATABASE_URL"] = u.String()
	p.Cleanup(func() { listener.Close(); r.hangUp() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go r.connect(client)
		}
	}()
	return r
}

func (r *relay) connect(client net.Conn) {
	server, err := net.Dial("tcp", r.server)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil || r.refusing {
		client.Close()
		return
	}
	r.open = append(r.open, client, server)
	go r.carry(client, server)
	go r.carry(server, client)
}

// carry takes what one side says to the other, until one hangs up.
func (r *relay) carry(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	some := make([]byte, 4<<10)
	for {
		n, err := from.Read(some)
		r.silence.RLock()
		_, failed := to.Write(some[:n])
		r.silence.RUnlock()
		if err != nil || failed != nil {
			return
		}
	}
}

func (r *relay) hangUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range r.open {
		conn.Close()
	}
	r.open = nil
}

// refuse hangs up, and takes no calls until end.
func (r *relay) refuse() (end func()) {
	set := func(refusing bool) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.refusing = refusing
	}
	set(true)
	r.hangUp()
	return func() { set(false) }
}

// fallSilent lets nothing through until end, as a network that lost its way.
func (r *relay) fallSilent() (end func()) {
	r.silence.Lock()
	return r.silence.Unlock
}

func TestASecondSignalEndsTheProgramAtOnce(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 2)
	p := prepare(t)
	p.env["TWITTER_CONSUMER_KEY"], p.env["TWITTER_CONSUMER_SECRET"] = "k", "s"
	p.env["TWITTER_API_URL"] = twitterDouble(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		asked <- struct{}{}
		<-r.Context().Done()
	})
	p.start()
	<-asked // by the check at the start
	go p.probe("/login")
	<-asked
	p.signal(os.Interrupt)
	await(t, "it to say that it stops", func() bool { return strings.Contains(p.log.String(), `"stopping"`) })
	began := time.Now()
	for !p.hasExited() { // the first of them may come while it still takes in the one before
		p.cmd.Process.Signal(os.Interrupt)
		time.Sleep(10 * time.Millisecond)
	}
	if code := p.awaitExit(); code != -1 {
		t.Errorf("exit code %d, want that the signal ended it", code)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %s", took)
	}
}
