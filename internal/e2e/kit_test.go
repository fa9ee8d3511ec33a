package e2e

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"

	"perch/internal/testdb"
	"perch/sandbox"
)

// patience bounds every wait: no test should need it, and none hangs.
const patience = 30 * time.Second

// root is the checkout.
var root = func() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return dir
}()

// program is the built binary.
var program string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "perch-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "perch")
	args := []string{"build", "-o", program}
	if raced() {
		args = append(args, "-race") // so the program is watched as well, and the compiler's work is shared
	}
	build := exec.Command("go", append(args, ".")...)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building Perch: %v\n%s", err, out)
		return 1
	}
	defer func() { closeBrowser() }() // the one that is open by then
	return m.Run()
}

// raced tells whether these tests run under the race detector.
func raced() bool {
	build, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(build.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// await polls until ok, or fails the test with what it waited for.
func await(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("waited %s in vain for %s", patience, what)
		}
	}
}

// freePort returns a port that nobody listens on, below those that the kernel
// hands out by itself, and never the same one twice.
func freePort(tb testing.TB) string {
	tb.Helper()
	for range 1000 {
		port := fmt.Sprint(10_000 + nextPort.Add(1)%20_000)
		if free("127.0.0.1:"+port) && free("localhost:"+port) {
			return port
		}
	}
	tb.Fatal("no port is free")
	return ""
}

var nextPort = func() *atomic.Int32 {
	n := new(atomic.Int32)
	n.Store(rand.Int32N(20_000))
	return n
}()

func free(addr string) bool {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	// A program that is being started holds a copy of everything open, until
	// it runs: with the lock there is none, and Close does free the port.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return l.Close() == nil
}

// listens tells whether somebody does at addr.
func listens(addr string) bool {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

// output is what a process writes, to be read while it writes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// perch is the program as an operator sees it: an environment, a working
// folder, and what it prints.
type perch struct {
	testing.TB
	env         map[string]string
	args        []string
	dir         string // the working folder, empty at first
	addr        string // where to listen
	sandboxAddr string

	out, log *output // of all runs
	cmd      *exec.Cmd
	began    time.Time
	exited   chan struct{} // closed when the process is gone

	// What a run printed.
	url, sandboxURL, key, secret string

	left    map[string]string // what the database held when it was stopped
	faulty  bool              // the test provokes ERROR lines in the log
	mu      sync.Mutex
	secrets map[string]string // seen in the traffic, with what they are
	pages   map[string]string // that visitors got, with their addresses
}

// prepare returns a perch that is not started yet, with settings that keep it
// out of everybody's way.
func prepare(tb testing.TB) *perch {
	tb.Helper()
	p := &perch{TB: tb, dir: tb.TempDir(), out: &output{}, log: &output{}, secrets: map[string]string{}, pages: map[string]string{}}
	p.addr, p.sandboxAddr = "127.0.0.1:"+freePort(tb), "localhost:"+freePort(tb)
	p.env = map[string]string{
		"ADDR":         p.addr,
		"SANDBOX_ADDR": p.sandboxAddr,
		"LOG_FORMAT":   "json",
		"DATABASE_URL": "sqlite:" + filepath.Join(p.dir, "perch.db"),
	}
	if testdb.Postgres() {
		p.env["DATABASE_URL"], p.env["SECRET_KEY"] = testdb.New(tb), "a secret key as every instance has it"
		p.keep("secret key", p.env["SECRET_KEY"])
		if u, err := url.Parse(p.env["DATABASE_URL"]); err == nil {
			password, _ := u.User.Password()
			p.keep("password of the database", password)
		}
	}
	return p
}

// start returns a perch that runs, with its sandbox, and with more settings
// (NAME=value) if given.
func start(tb testing.TB, settings ...string) *perch {
	tb.Helper()
	p := prepare(tb)
	p.set(settings...)
	p.start()
	return p
}

func (p *perch) set(settings ...string) {
	for _, setting := range settings {
		name, value, _ := strings.Cut(setting, "=")
		p.env[name] = value
	}
}

// start runs the program until the test ends, and waits until it is ready.
func (p *perch) start() {
	p.Helper()
	before := len(p.out.String())
	p.launch()
	if before == 0 { // not for a restart
		p.Cleanup(p.stopAndCheck)
	}
	await(p, "the program to be ready", func() bool {
		if p.hasExited() {
			p.Fatalf("the program ended: %s", p.log)
		}
		return strings.HasSuffix(p.out.String()[before:], "\n\n") && p.probe("/readyz") == http.StatusOK
	})
	p.read(p.out.String()[before:])
}

// launch runs the program and returns at once.
func (p *perch) launch() {
	p.Helper()
	p.cmd = exec.Command(program, p.args...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = p.dir, p.out, p.log
	p.cmd.Env = []string{} // a nil one would be ours
	for name, value := range p.env {
		p.cmd.Env = append(p.cmd.Env, name+"="+value)
	}
	p.began, p.left = time.Now(), nil
	if err := p.cmd.Start(); err != nil {
		p.Fatal(err)
	}
	cmd, exited := p.cmd, make(chan struct{})
	p.exited = exited
	go func() {
		cmd.Wait()
		close(exited)
	}()
}

// run runs a command as the operator of p does, in the same folder with the
// same settings, until it ends.
func (p *perch) run(args ...string) *perch {
	p.Helper()
	command := &perch{TB: p.TB, env: p.env, dir: p.dir, args: args, out: &output{}, log: &output{}}
	command.launch()
	command.awaitExit()
	return command
}

var printed = map[string]*regexp.Regexp{
	"url":        regexp.MustCompile(`(?m)^Perch is at +(\S+)$`),
	"sandboxURL": regexp.MustCompile(`(?m)^ +URL +(\S+)$`),
	"key":        regexp.MustCompile(`(?m)^ +consumer key +(\S+)$`),
	"secret":     regexp.MustCompile(`(?m)^ +consumer secret +(\S+)$`),
}

// read takes from the greeting what a person would.
func (p *perch) read(greeting string) {
	find := func(name string) string {
		if found := printed[name].FindStringSubmatch(greeting); found != nil {
			return found[1]
		}
		return ""
	}
	p.url, p.sandboxURL, p.key, p.secret = find("url"), find("sandboxURL"), find("key"), find("secret")
	p.keep("consumer key", p.key)
	p.keep("consumer secret", p.secret)
}

// probe asks the program itself, past any proxy, and returns the status; 0
// when nobody answers.
func (p *perch) probe(path string) int {
	client := http.Client{
		Timeout:       patience,
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Get("http://" + p.addr + path)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

func (p *perch) hasExited() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// awaitExit waits until the process is gone and returns its exit code, -1 when
// a signal ended it.
func (p *perch) awaitExit() int {
	p.Helper()
	await(p, "the program to end", p.hasExited)
	return p.cmd.ProcessState.ExitCode()
}

func (p *perch) signal(s os.Signal) {
	p.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.Fatal(err)
	}
}

// stop ends the process as an operator does. Its log is whole then.
func (p *perch) stop() {
	p.Helper()
	p.left = p.records() // before it stops, for then it tidies up
	p.signal(syscall.SIGTERM)
	select {
	case <-p.exited:
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			p.Errorf("exit code %d after SIGTERM, want 0; it said %s", code, p.log)
		}
	case <-time.After(patience):
		p.kill()
		p.Errorf("the program did not stop within %s of SIGTERM", patience)
	}
}

// kill ends the process as a loss of power would: it cannot tidy up.
func (p *perch) kill() {
	p.Helper()
	p.signal(syscall.SIGKILL)
	p.awaitExit()
}

// stopAndCheck ends the program as an operator does, and looks at what it
// leaves: log, pages and files.
func (p *perch) stopAndCheck() {
	if !p.hasExited() {
		p.stop()
	} else if p.left == nil {
		p.left = p.records()
	}
	p.checkLog()
	p.checkSecrets(p.left)
	if p.Failed() {
		p.Logf("the log:\n%s", p.log)
	}
}

// checkLog holds for every run of every test: lines of JSON, and no errors.
func (p *perch) checkLog() {
	for _, line := range p.lines() {
		if line["level"] == "ERROR" && !p.faulty {
			p.Errorf("an error in the log: %v", line)
		}
	}
}

// records returns what the database holds, if there is one, and keeps the key
// beside it.
func (p *perch) records() map[string]string {
	path, isFile := strings.CutPrefix(cmp.Or(p.env["DATABASE_URL"], "sqlite:data/perch.db"), "sqlite:")
	if !isFile {
		return testdb.Contents(p, p.env["DATABASE_URL"])
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(p.dir, path)
	}
	if _, err := os.Stat(path); err != nil {
		return nil // it is elsewhere
	}
	if key, err := os.ReadFile(filepath.Join(filepath.Dir(path), "secret.key")); err == nil {
		p.keep("secret key", string(key))
	}
	return testdb.Contents(p, "sqlite:"+path)
}

// checkSecrets holds for every run of every test: nothing secret is written
// down, or shown.
func (p *perch) checkSecrets(records map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	byStart := map[string][]string{} // for there may be thousands
	for secret := range p.secrets {
		byStart[secret[:shortest]] = append(byStart[secret[:shortest]], secret)
	}
	check := func(where, text string, but ...string) {
		for i := range max(0, len(text)-shortest+1) {
			for _, secret := range byStart[text[i:i+shortest]] {
				if what := p.secrets[secret]; strings.HasPrefix(text[i:], secret) && !slices.Contains(but, what) {
					p.Errorf("%s holds a secret: %s", where, what)
				}
			}
		}
	}
	check("the log", p.log.String())
	for name, content := range records {
		check(name, content)
	}
	for page, link := range p.pages {
		if strings.HasPrefix(link, p.url+"/") {
			check(link, page)
		} else {
			check("the sandbox's page", page, "oauth_token", "denied", "csrf value", "consumer key") // which its forms send back, and its pages are there to tell
		}
	}
}

// lines returns the log.
func (p *perch) lines() []map[string]any {
	p.Helper()
	var lines []map[string]any
	for text := range strings.Lines(p.log.String()) {
		if !strings.HasSuffix(text, "\n") {
			break // still being written
		}
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			p.Errorf("a line of the log is not JSON: %s", text)
			continue
		}
		lines = append(lines, line)
	}
	return lines
}

// shortest is how long a secret has to be: shorter ones are found anywhere.
const shortest = 8

// keep remembers a secret that nobody must write down or show.
func (p *perch) keep(what, secret string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(secret) >= shortest {
		p.secrets[secret] = what
	}
}

// keepPage remembers a page that a visitor got.
func (p *perch) keepPage(link, page string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pages[page] = link
}

// keepFrom remembers the secrets in what goes over the wire.
func (p *perch) keepFrom(link string, header http.Header) {
	for _, raw := range []string{link, header.Get("Location")} {
		u, err := url.Parse(raw)
		if err != nil {
			continue
		}
		for _, name := range []string{"oauth_token", "oauth_verifier", "denied"} {
			p.keep(name, u.Query().Get(name))
		}
	}
	for _, cookie := range (&http.Response{Header: header}).Cookies() {
		what := "cookie " + cookie.Name
		if strings.HasPrefix(cookie.Name, "sandbox_csrf_") {
			what = "csrf value"
		}
		p.keep(what, cookie.Value)
		if id, err := base64.RawURLEncoding.DecodeString(cookie.Value); err == nil && strings.HasSuffix(cookie.Name, "perch-session") {
			p.keep("session id", string(id))
		}
	}
}

// write puts a file into the working folder.
func (p *perch) write(name, content string) string {
	p.Helper()
	path := filepath.Join(p.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
		p.Fatal(err)
	}
	return path
}

// visitor is somebody with a browser that has cookies and no scripts.
type visitor struct {
	testing.TB
	p      *perch
	client *http.Client
}

func (p *perch) visitor() *visitor {
	p.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		p.Fatal(err)
	}
	transport := &http.Transport{}
	p.Cleanup(transport.CloseIdleConnections)
	return &visitor{p, p, &http.Client{Jar: jar, Timeout: patience, Transport: overheard{p, transport}}}
}

// overheard remembers the secrets that come along.
type overheard struct {
	p *perch
	http.RoundTripper
}

func (o overheard) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := o.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	o.p.keepFrom(r.URL.String(), resp.Header)
	o.p.keepPage(r.URL.String(), string(body))
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// answer is where a request led in the end, read as a page.
type answer struct {
	*goquery.Document
	resp *http.Response
}

// get follows a link, to a path or to a whole URL.
func (v *visitor) get(link string) answer {
	v.Helper()
	return v.do(v.request(link, nil))
}

// post sends a form.
func (v *visitor) post(link string, form url.Values) answer {
	v.Helper()
	return v.do(v.request(link, form))
}

// request is a GET, or a POST when there is a form.
func (v *visitor) request(link string, form url.Values) *http.Request {
	v.Helper()
	method, body := http.MethodGet, ""
	if form != nil {
		method, body = http.MethodPost, form.Encode()
	}
	r, err := http.NewRequest(method, v.resolve(link), strings.NewReader(body))
	if err != nil {
		v.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r
}

func (v *visitor) resolve(link string) string {
	if strings.HasPrefix(link, "/") {
		return v.p.url + link
	}
	return link
}

func (v *visitor) do(r *http.Request) answer {
	v.Helper()
	page, err := v.try(r)
	if err != nil {
		v.Fatal(err)
	}
	return page
}

// try is do for a program that may be gone.
func (v *visitor) try(r *http.Request) (answer, error) {
	resp, err := v.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	doc, err := goquery.NewDocumentFromReader(resp.Body)
	return answer{doc, resp}, err
}

// consent starts a sign-in and returns the page that asks.
func (v *visitor) consent(next string) answer {
	v.Helper()
	page := v.get("/login?next=" + url.QueryEscape(next))
	if page.Find("form#consent").Length() != 1 {
		v.Fatalf("sign-in led to %s (%s), not to the consent page", page.resp.Request.URL, page.resp.Status)
	}
	return page
}

// decide sends the consent page's form, as its button does.
func (v *visitor) decide(page answer, as sandbox.Account, button string) answer {
	v.Helper()
	return v.do(v.decision(page, as, button))
}

func (v *visitor) decision(page answer, as sandbox.Account, button string) *http.Request {
	v.Helper()
	form := url.Values{"action": {button}, "account": {as.ID}}
	page.Find("form#consent input[type=hidden]").Each(func(_ int, input *goquery.Selection) {
		form.Set(input.AttrOr("name", ""), input.AttrOr("value", ""))
	})
	action, err := page.resp.Request.URL.Parse(page.Find("form#consent").AttrOr("action", ""))
	if err != nil {
		v.Fatal(err)
	}
	return v.request(action.String(), form)
}

// signIn signs in as the account, all the way.
func (v *visitor) signIn(as sandbox.Account) answer {
	v.Helper()
	page := v.decide(v.consent("/"), as, "authorize")
	if page.greets() != as.ScreenName {
		v.Fatalf("signing in as %q greeted %q with %q", as.ScreenName, page.greets(), page.notices())
	}
	return page
}

// signOut presses the button in the header.
func (v *visitor) signOut() answer {
	v.Helper()
	page := v.post("/logout", url.Values{"here": {"/"}})
	if want := []string{"You were signed out"}; !slices.Equal(page.notices(), want) {
		v.Fatalf("signing out said %q, want %q", page.notices(), want)
	}
	return page
}

// greets returns whom the header greets; "" when it offers to sign in.
func (a answer) greets() string {
	return strings.TrimPrefix(a.Find("#header .hello a").Text(), "@")
}

func (a answer) notices() []string {
	return a.Find("#notices .notice > span").Map(func(_ int, s *goquery.Selection) string { return strings.TrimSpace(s.Text()) })
}

// thief is somebody else with a copy of the visitor's cookies.
func (v *visitor) thief() *visitor {
	v.Helper()
	thief := v.p.visitor()
	u, err := url.Parse(v.p.url)
	if err != nil {
		v.Fatal(err)
	}
	thief.client.Jar.SetCookies(u, v.client.Jar.Cookies(u))
	return thief
}

// accounts are the people at the sandbox, by name.
var accounts = func() map[string]sandbox.Account {
	all := map[string]sandbox.Account{}
	for _, a := range sandbox.DemoAccounts() {
		all[a.ScreenName] = a
	}
	return all
}()

// account finds one by its name.
func account(tb testing.TB, name string) sandbox.Account {
	tb.Helper()
	a, ok := accounts[name]
	if !ok {
		tb.Fatalf("the sandbox has no @%s, only %q", name, slices.Sorted(maps.Keys(accounts)))
	}
	return a
}
