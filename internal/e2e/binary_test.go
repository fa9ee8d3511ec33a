package e2e

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"perch/internal/config"
)

func TestTheProgramSaysWhereItIs(t *testing.T) {
	t.Parallel()
	p := start(t)

	for what, got := range map[string][2]string{
		"URL":         {p.url, "http://" + p.addr},
		"sandbox URL": {p.sandboxURL, "http://" + p.sandboxAddr},
	} {
		if got[0] != got[1] {
			t.Errorf("printed the %s %q, want %q", what, got[0], got[1])
		}
	}
	if !strings.HasPrefix(p.key, "sandbox-") || !strings.HasPrefix(p.secret, "sandbox-") {
		t.Errorf("printed the key %q and the secret %q, want ones that say sandbox", p.key, p.secret)
	}
	if page := p.visitor().get("/"); page.resp.StatusCode != http.StatusOK || page.Find("#sign-in").Length() != 1 {
		t.Errorf("the printed URL answers %s without a sign-in link", page.resp.Status)
	}
}

func TestWhatOnlyTheStartNeededOfTheProgramIsGivenBack(t *testing.T) {
	t.Parallel()
	p := start(t)
	info, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "most of the program to be out of memory", func() bool { return p.memory("RssFile")<<10 < int(info.Size())/2 })
	if page := p.visitor().get("/"); page.resp.StatusCode != http.StatusOK { // as much as that needs comes back
		t.Errorf("afterwards the home page is %s", page.resp.Status)
	}
}

func TestByItselfItKeepsItsRecordsInDataForNobodyElseToRead(t *testing.T) {
	t.Parallel()
	p := prepare(t)
	delete(p.env, "DATABASE_URL")
	delete(p.env, "SECRET_KEY")
	p.start()
	p.visitor().signIn(account(t, "robin"))

	for name, want := range map[string]fs.FileMode{
		"data":              0o700 | fs.ModeDir,
		"data/perch.db":     0o600,
		"data/perch.db-wal": 0o600,
		"data/perch.db-shm": 0o600,
		"data/secret.key":   0o600,
	} {
		info, err := os.Stat(filepath.Join(p.dir, name))
		if err != nil {
			t.Error(err)
		} else if info.Mode() != want {
			t.Errorf("%s has mode %s, want %s", name, info.Mode(), want)
		}
	}
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("the working folder holds %v, want data alone", entries)
	}
}

// secretSettings are the variables whose values nobody may read.
var secretSettings = map[string]string{
	"TWITTER_CONSUMER_KEY":    "real-consumer-key-5f1c",
	"TWITTER_CONSUMER_SECRET": "real-consumer-secret-77a0",
	"SECRET_KEY":              "a-secret-key-of-more-than-thirty-two-bytes",
	"DATABASE_URL":            "sqlite:/secret/place/9b2d.db",
	"SANDBOX_CONSUMER_KEY":    "given-sandbox-key-31aa",
	"SANDBOX_CONSUMER_SECRET": "given-sandbox-secret-08ef",
}

func TestHelpShowsEverySettingAndNoSecret(t *testing.T) {
	t.Parallel()
	p := prepare(t)
	p.args = []string{"--help"}
	for name, value := range secretSettings {
		p.env[name] = value
	}
	p.launch()

	if code := p.awaitExit(); code != 0 {
		t.Errorf("--help exits with %d, want 0", code)
	}
	for field := range reflect.TypeFor[config.Settings]().Fields() {
		if name := field.Tag.Get("env"); !regexp.MustCompile(`\$` + name + `\b`).MatchString(p.out.String()) {
			t.Errorf("--help does not show $%s", name)
		}
	}
	for name, value := range secretSettings {
		if strings.Contains(p.out.String()+p.log.String(), value) {
			t.Errorf("--help shows the value of %s", name)
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	for _, ask := range []string{"--version", "version"} {
		got := prepare(t).run(ask)
		if code := got.awaitExit(); code != 0 {
			t.Errorf("%s exits with %d, want 0", ask, code)
		}
		if !regexp.MustCompile(`^perch version \S+ go\S+\n$`).MatchString(got.out.String()) {
			t.Errorf("%s says %q", ask, got.out)
		}
	}
}

func TestAWrongStartIsRefusedInOneSentence(t *testing.T) {
	t.Parallel()
	const key = "a-secret-key-of-more-than-thirty-two-bytes"
	tests := map[string]struct {
		env   string            // NAME=value, one a line
		files map[string]string // in the working folder
		args  []string
		names string // what the sentence must name
	}{
		"an address without a port":       {env: "ADDR=localhost", names: "ADDR"},
		"a port that is no number":        {env: "ADDR=\nPORT=http", names: "PORT"},
		"an address that is not ours":     {env: "ADDR=192.0.2.1:80\nBASE_URL=http://localhost:8080\nTWITTER_CONSUMER_KEY=k\nTWITTER_CONSUMER_SECRET=s", names: "ADDR"},
		"a public URL without TLS":        {env: "BASE_URL=http://perch.example", names: "BASE_URL"},
		"a public URL with a path":        {env: "BASE_URL=https://perch.example/app", names: "BASE_URL"},
		"a public URL without keys":       {env: "BASE_URL=https://perch.example\nSECRET_KEY=" + key, names: "TWITTER_CONSUMER_KEY"},
		"a public URL without SECRET_KEY": {env: "BASE_URL=https://perch.example\nTWITTER_CONSUMER_KEY=k\nTWITTER_CONSUMER_SECRET=s\nSECRET_KEY=", names: "SECRET_KEY"},
		"an address for all without keys": {env: "ADDR=0.0.0.0:8080\nBASE_URL=http://127.0.0.1:8080", names: "TWITTER_CONSUMER_KEY"},
		"a key without its secret":        {env: "TWITTER_CONSUMER_KEY=real-consumer-key-5f1c", names: "TWITTER_CONSUMER_SECRET"},
		"a key file that is not there":    {env: "TWITTER_CONSUMER_KEY_FILE=nowhere", names: "TWITTER_CONSUMER_KEY_FILE"},
		"a secret twice":                  {env: "SECRET_KEY=" + key + "\nSECRET_KEY_FILE=key", files: map[string]string{"key": key}, names: "SECRET_KEY_FILE"},
		"a Twitter without keys":          {env: "TWITTER_API_URL=https://api.x.com", names: "TWITTER_API_URL"},
		"a Twitter without TLS":           {env: "TWITTER_API_URL=http://api.x.com\nTWITTER_CONSUMER_KEY=k\nTWITTER_CONSUMER_SECRET=s", names: "TWITTER_API_URL"},
		"a short SECRET_KEY":              {env: "SECRET_KEY=a-short-secret-4c", names: "SECRET_KEY"},
		"another database":                {env: "DATABASE_URL=mysql://root:hunter2-9d@db/perch", names: "DATABASE_URL"},
		"a sandbox for all":               {env: "SANDBOX_ADDR=0.0.0.0:8081", names: "SANDBOX_ADDR"},
		"a sandbox under our own name":    {env: "SANDBOX_ADDR=127.0.0.1:8081", names: "SANDBOX_ADDR"},
		"a sandbox on a look-alike":       {env: "SANDBOX_ADDR=localhost.evil.example:8081", names: "SANDBOX_ADDR"},
		"a sandbox key alone":             {env: "SANDBOX_CONSUMER_KEY=given-sandbox-key-31aa", names: "SANDBOX_CONSUMER_SECRET"},
		"an idle time without a unit":     {env: "SESSION_IDLE=7", names: "SESSION_IDLE"},
		"a lifetime that is over":         {env: "SESSION_LIFETIME=-1h", names: "SESSION_LIFETIME"},
		"a proxy that is no network":      {env: "TRUSTED_PROXIES=the-load-balancer", names: "TRUSTED_PROXIES"},
		"a rate below zero":               {env: "LOGIN_RATE=-1", names: "LOGIN_RATE"},
		"metrics without a port":          {env: "METRICS_ADDR=127.0.0.1", names: "METRICS_ADDR"},
		"metrics in public":               {env: "ADDR=127.0.0.1:8080\nMETRICS_ADDR=10.0.0.5:8080", names: "METRICS_ADDR"},
		"metrics in the sandbox":          {env: "SANDBOX_ADDR=localhost:8081\nMETRICS_ADDR=127.0.0.1:8081", names: "METRICS_ADDR"},
		"a log format of its own":         {env: "LOG_FORMAT=xml", names: "LOG_FORMAT"},
		"a flag that is wrong":            {args: []string{"--login-rate=often"}, names: "LOGIN_RATE"},
		"a flag that is not there":        {args: []string{"--sandbox-everything"}, names: "--sandbox-everything"},
		"a flag with one dash":            {args: []string{"-secret-key=" + key}, names: "--"},
		"a flag with three dashes":        {args: []string{"---secret-key=" + key}, names: "--"},
		"a flag that takes the next one":  {args: []string{"--addr", "--secret-key", key}, names: "every flag has a value"},
		"a secret for a yes or no":        {args: []string{"sessions", "end", "--all=" + key}, names: "--all"},
		"a secret for a number":           {args: []string{"sandbox", "--seed", key}, names: "--seed"},
		"a command that is not there":     {args: []string{"served"}, names: "served"},
		"a broken .env":                   {files: map[string]string{".env": "SECRET_KEY a-secret-without-equals-13\n"}, names: ".env"},
		"a wrong line in .env":            {files: map[string]string{".env": "LOGIN_RATE=often\n"}, names: "LOGIN_RATE"},
		"a damaged key file":              {env: "DATABASE_URL=sqlite:perch.db\nSECRET_KEY=", files: map[string]string{"secret.key": "damaged-key-file-62"}, names: "secret.key"},
		"a folder for a database":         {env: "DATABASE_URL=sqlite:folder", files: map[string]string{"folder/file": ""}, names: "DATABASE_URL"},
		"a text for a database":           {env: "DATABASE_URL=sqlite:text", files: map[string]string{"text": strings.Repeat("This is no database. ", 100)}, names: "DATABASE_URL"},
		"PostgreSQL without SECRET_KEY":   {env: "DATABASE_URL=postgres://perch:hunter2-9d@db.example/perch\nSECRET_KEY=", names: "SECRET_KEY"},
		"PostgreSQL that is not there":    {env: "DATABASE_URL=postgres://perch:hunter2-9d@127.0.0.1:1/perch\nSECRET_KEY=" + key, names: "DATABASE_URL"},
		"PostgreSQL of another kind":      {env: "DATABASE_URL=postgres://perch:hunter2-9d@127.0.0.1:1/perch?sslmode=hunter2\nSECRET_KEY=" + key, names: "DATABASE_URL"},
		"a place that cannot be made":     {env: "DATABASE_URL=sqlite:file/perch.db", files: map[string]string{"file": ""}, names: "DATABASE_URL"},
	}
	secrets := regexp.MustCompile(key + `|real-consumer-key-5f1c|a-short-secret-4c|hunter2-9d|given-sandbox-key-31aa|a-secret-without-equals-13|damaged-key-file-62|[0-9a-f]{64}`)

	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := prepare(t)
			for setting := range strings.Lines(test.env) {
				name, value, _ := strings.Cut(strings.TrimSpace(setting), "=")
				p.env[name] = value
			}
			for name, content := range test.files {
				p.write(name, content)
			}
			p.args = test.args
			p.launch()

			await(t, "the refusal", func() bool {
				for _, addr := range []string{p.addr, p.sandboxAddr} {
					if listens(addr) {
						t.Fatalf("opened %s", addr)
					}
				}
				return p.hasExited()
			})
			took := time.Since(p.began)
			if code := p.awaitExit(); code <= 0 {
				t.Errorf("exit code %d, want one that says no", code)
			}
			if took > 2*time.Second {
				t.Errorf("took %s, want 2s at most", took)
			}
			if p.out.String() != "" {
				t.Errorf("printed %q", p.out)
			}
			said := p.log.String()
			if sentence, ok := strings.CutPrefix(said, "perch: error: "); !ok || strings.Count(said, "\n") != 1 || len(sentence) < 20 {
				t.Errorf("said %q, want one sentence", said)
			}
			if !strings.Contains(said, test.names) {
				t.Errorf("said %q, want it to name %s", said, test.names)
			}
			if strings.Contains(said, "goroutine ") || strings.Contains(said, ".go:") || secrets.MatchString(said) {
				t.Errorf("said %q: a stack trace or a secret", said)
			}
		})
	}
}

// A port that is taken is found out when it is opened: by then the sandbox may
// have had its own for a moment.
func TestAPortThatIsTakenIsNamed(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"ADDR", "SANDBOX_ADDR", "METRICS_ADDR"} {
		t.Run(name, func(t *testing.T) {
			p := prepare(t)
			p.env["METRICS_ADDR"] = "127.0.0.1:" + freePort(t)
			taken, err := net.Listen("tcp", p.env[name])
			if err != nil {
				t.Fatal(err)
			}
			defer taken.Close()
			p.launch()

			if code := p.awaitExit(); code <= 0 {
				t.Errorf("exit code %d, want one that says no", code)
			}
			if !regexp.MustCompile(`^perch: error: (opening )?` + name + ` .+\n$`).MatchString(p.log.String()) {
				t.Errorf("said %q, want one sentence about %s", p.log, name)
			}
		})
	}
}

func TestAFlagWinsOverTheEnvironmentAndThatOverDotEnv(t *testing.T) {
	t.Parallel()
	dotenv, env, flag := "127.0.0.1:"+freePort(t), "127.0.0.1:"+freePort(t), "127.0.0.1:"+freePort(t)
	tests := map[string]struct{ dotenv, env, flag, want string }{
		".env alone":                   {dotenv: dotenv, want: dotenv},
		"the environment over .env":    {dotenv: dotenv, env: env, want: env},
		"a flag over both":             {dotenv: dotenv, env: env, flag: flag, want: flag},
		"a flag over .env":             {dotenv: dotenv, flag: flag, want: flag},
		"the environment without .env": {env: env, want: env},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := prepare(t)
			p.addr = test.want
			delete(p.env, "ADDR")
			if test.dotenv != "" {
				p.write(".env", "# a comment\nADDR="+test.dotenv+"\n")
			}
			if test.env != "" {
				p.env["ADDR"] = test.env
			}
			if test.flag != "" {
				p.args = []string{"--addr=" + test.flag}
			}
			p.start()
			if want := "http://" + test.want; p.url != want {
				t.Errorf("it is at %q, want %q", p.url, want)
			}
		})
	}
}

func TestSecretsMayComeFromFiles(t *testing.T) {
	t.Parallel()
	signed := make(chan string, 2) // at the start, and for a visitor
	p := prepare(t)
	p.env["TWITTER_API_URL"] = twitterDouble(t, func(w http.ResponseWriter, r *http.Request) {
		signed <- r.Header.Get("Authorization")
		http.Error(w, "", http.StatusServiceUnavailable)
	})
	delete(p.env, "DATABASE_URL")
	delete(p.env, "SECRET_KEY")
	for name, value := range map[string]string{
		"TWITTER_CONSUMER_KEY":    "key-from-a-file\n",
		"TWITTER_CONSUMER_SECRET": "secret-from-a-file\n",
		"SECRET_KEY":              "a-key-from-a-file-with-more-than-32-bytes\n",
		"DATABASE_URL":            "sqlite:from-a-file.db\n",
	} {
		p.env[name+"_FILE"] = p.write("secrets/"+name, value)
		p.keep(name, strings.TrimSpace(value))
	}
	p.start()
	p.visitor().get("/login")

	for range 2 {
		if got := <-signed; !strings.Contains(got, `oauth_consumer_key="key-from-a-file"`) {
			t.Errorf("the call was signed with %q, want the key from the file", got)
		}
	}
	if _, err := os.Stat(filepath.Join(p.dir, "from-a-file.db")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(p.dir, "secret.key")); err == nil {
		t.Error("made a key file although a key was given")
	}
}

func TestTheSandboxsKeysAreNewAtEachStartUnlessGiven(t *testing.T) {
	t.Parallel()
	one, other := start(t), start(t)
	if one.key == other.key || one.secret == other.secret || one.key == "" {
		t.Errorf("two runs have the keys %q and %q, want different ones", one.key, other.key)
	}

	given := start(t, "SANDBOX_CONSUMER_KEY=my-own-key", "SANDBOX_CONSUMER_SECRET=my-own-secret")
	if given.key != "my-own-key" || given.secret != "my-own-secret" {
		t.Errorf("printed %q and %q, want the ones that were given", given.key, given.secret)
	}
	given.visitor().signIn(account(t, "robin"))
}

// The other two locks, on what is not loopback, are among the wrong starts.
func TestTheSandboxIsLocked(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.visitor().signIn(account(t, "robin"))

	t.Run("it answers to loopback names alone", func(t *testing.T) {
		for host, want := range map[string]int{
			"":                                  http.StatusOK,
			"127.0.0.1":                         http.StatusOK,
			"perch.example":                     http.StatusMisdirectedRequest,
			"localhost.evil.example":            http.StatusMisdirectedRequest,
			"127.0.0.1.nip.io":                  http.StatusMisdirectedRequest,
			"0.0.0.0:" + port(t, p.sandboxAddr): http.StatusMisdirectedRequest,
		} {
			r, err := http.NewRequest(http.MethodGet, p.sandboxURL+"/", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = host
			page := p.visitor().do(r)
			if page.resp.StatusCode != want {
				t.Errorf("Host %q: status %d, want %d", host, page.resp.StatusCode, want)
			}
			if page.resp.Header.Get("X-Perch-Sandbox") != "true" {
				t.Errorf("Host %q: the answer does not say that it is the sandbox's", host)
			}
		}
	})

	t.Run("it says sandbox in page and log", func(t *testing.T) {
		page := p.visitor().consent("/")
		if text := page.Find("body > header").Text(); !strings.Contains(text, "Sandbox") || !strings.Contains(text, "not X") {
			t.Errorf("the consent page says %q", text)
		}
		if text := p.visitor().get("/").Find("main").Text(); !strings.Contains(text, "Sandbox") {
			t.Error("the home page does not say that sign-ins go to the sandbox")
		}
		await(t, "a line of the log for each call: request_token, authenticate twice, access_token", func() bool {
			return strings.Count(p.log.String(), `"msg":"sandbox `) >= 4
		})
	})
}

func TestWithRealKeysThereIsNoSandbox(t *testing.T) {
	t.Parallel()
	p := prepare(t)
	p.env["TWITTER_CONSUMER_KEY"], p.env["TWITTER_CONSUMER_SECRET"] = secretSettings["TWITTER_CONSUMER_KEY"], secretSettings["TWITTER_CONSUMER_SECRET"]
	p.env["TWITTER_API_URL"] = twitterDouble(t, handOut)
	p.keep("consumer key", p.env["TWITTER_CONSUMER_KEY"])
	p.keep("consumer secret", p.env["TWITTER_CONSUMER_SECRET"])
	p.start()

	if listens(p.sandboxAddr) {
		t.Error("there is a sandbox")
	}
	said := strings.ToLower(p.out.String() + p.log.String())
	if strings.Contains(said, "sandbox") || strings.Contains(said, secretSettings["TWITTER_CONSUMER_KEY"]) {
		t.Errorf("it speaks of a sandbox, or of the keys: %s", said)
	}
	v := p.visitor()
	if strings.Contains(strings.ToLower(v.get("/").Text()), "sandbox") {
		t.Error("the home page speaks of a sandbox")
	}
	v.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	want := p.env["TWITTER_API_URL"] + "/oauth/authenticate?oauth_token=a-request-token"
	if got := v.get("/login").resp.Header.Get("Location"); got != want {
		t.Errorf("sign-in leads to %q, want %q", got, want)
	}
}

// twitterDouble is a Twitter that answers every call with h, and returns its
// origin.
func twitterDouble(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
}

// handOut gives a request token to everybody.
func handOut(w http.ResponseWriter, _ *http.Request) {
	io.WriteString(w, "oauth_token=a-request-token&oauth_token_secret=its-secret-value&oauth_callback_confirmed=true")
}

func TestSIGTERMLetsARunningRequestFinish(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan struct{}), make(chan struct{})
	var calls atomic.Int32
	p := prepare(t)
	p.env["TWITTER_CONSUMER_KEY"], p.env["TWITTER_CONSUMER_SECRET"] = "k", "s"
	p.env["TWITTER_API_URL"] = twitterDouble(t, func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			handOut(w, r) // to the check at the start
			return
		}
		close(asked)
		<-answer
		handOut(w, r)
	})
	finish := sync.OnceFunc(func() { close(answer) })
	t.Cleanup(finish)
	p.start()
	await(t, "the check of the keys", func() bool { return strings.Contains(p.log.String(), `"provider_checked"`) })

	status := make(chan int, 1)
	go func() { status <- p.probe("/login") }()
	<-asked
	if got := p.probe("/readyz"); got != http.StatusOK {
		t.Errorf("readyz before SIGTERM: status %d, want 200", got)
	}
	p.signal(syscall.SIGTERM)

	await(t, "readyz to say 503", func() bool { return p.probe("/readyz") == http.StatusServiceUnavailable })
	if got := p.probe("/healthz"); got != http.StatusOK {
		t.Errorf("healthz after SIGTERM: status %d, want 200", got)
	}
	finish()
	if got := <-status; got != http.StatusSeeOther {
		t.Errorf("the running request got %d, want 303", got)
	}
	if code := p.awaitExit(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if p.probe("/healthz") != 0 {
		t.Error("somebody still answers")
	}
}

func TestKill9LosesNothingThatWasAcknowledged(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.faulty = true // a call of the sandbox may be cut off
	in, out := p.visitor(), p.visitor()
	in.signIn(account(t, "robin"))
	p.kill()
	p.start()
	if got := in.get("/").greets(); got != "robin" {
		t.Errorf("after kill -9 the header greets %q, want robin", got)
	}

	out.signIn(account(t, "suzume"))
	thief := out.thief()
	if got := thief.get("/").greets(); got != "suzume" {
		t.Errorf("a copy of the cookies is greeted as %q, want suzume", got)
	}
	out.signOut()
	p.kill()
	p.start()
	for who, v := range map[string]*visitor{"the one who signed out": out, "a copy of their cookies": thief} {
		if got := v.get("/").greets(); got != "" {
			t.Errorf("after kill -9 %s is greeted as %q, want nobody", who, got)
		}
	}
	if got := in.get("/").greets(); got != "robin" {
		t.Errorf("after two kills the header greets %q, want robin", got)
	}
}

func TestTheServerTakesOnlySoMuch(t *testing.T) {
	t.Parallel()
	p := start(t)
	header := func(size int) string {
		return "GET / HTTP/1.1\r\nHost: " + p.addr + "\r\nX-Large: " + strings.Repeat("x", size) + "\r\n\r\n"
	}
	post := func(size int) string {
		return fmt.Sprintf("POST /logout HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s",
			p.addr, size, strings.Repeat("x", size))
	}
	tests := map[string]struct {
		send string
		want int
	}{
		"a header block below 16 KiB": {header(15 << 10), http.StatusOK},
		"a header block over 16 KiB":  {header(17 << 10), http.StatusRequestHeaderFieldsTooLarge},
		"a body below 64 KiB":         {post(63 << 10), http.StatusSeeOther},
		"a body over 64 KiB":          {post(65 << 10), http.StatusRequestEntityTooLarge},
		"another host":                {"GET / HTTP/1.1\r\nHost: perch.example\r\n\r\n", http.StatusMisdirectedRequest},
		"no host":                     {"GET / HTTP/1.1\r\n\r\n", http.StatusBadRequest},
		"no HTTP at all":              {"hello\r\n\r\n", http.StatusBadRequest},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := dial(t, p.addr).exchange(test.send); got != test.want {
				t.Errorf("status %d, want %d", got, test.want)
			}
		})
	}
}

func TestAHeaderThatDripsIsCutOffAfter5s(t *testing.T) {
	t.Parallel()
	p := start(t)
	c := dial(t, p.addr)
	began := time.Now()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+p.addr+"\r\n")
	c.SetReadDeadline(began.Add(patience))
	drip := time.NewTicker(100 * time.Millisecond)
	t.Cleanup(drip.Stop)
	over := make(chan struct{})
	go func() {
		io.Copy(io.Discard, c) // until the server has had enough
		close(over)
	}()
	for {
		select {
		case <-drip.C:
			io.WriteString(c, "X-Slow: x\r\n")
		case <-over:
			if took := time.Since(began); took < 4*time.Second || took > 8*time.Second {
				t.Errorf("cut off after %s, want 5s", took)
			}
			return
		}
	}
}

// conn is a connection with nothing between.
type conn struct {
	testing.TB
	net.Conn
}

func dial(tb testing.TB, addr string) conn {
	tb.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return conn{tb, c}
}

// exchange sends a request and returns the status of the answer.
func (c conn) exchange(request string) int {
	c.Helper()
	c.SetDeadline(time.Now().Add(patience))
	go io.WriteString(c, request) // the server may answer before it has read all
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		c.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func TestTheLogTellsWhatHappenedAndNoSecret(t *testing.T) {
	t.Parallel()
	p := start(t)
	v := p.visitor()
	v.signIn(account(t, "robin"))
	v.get("/account?private=8d1f0c72aa")
	v.decide(v.consent("/"), account(t, "robin"), "cancel")
	v.get("/oauth-authorized?oauth_token=never-asked-for-5512&oauth_verifier=made-up-verifier-9917")
	v.signOut()
	p.keep("token", "never-asked-for-5512")
	p.keep("verifier", "made-up-verifier-9917")
	p.stop()

	if strings.Contains(p.log.String(), "8d1f0c72aa") {
		t.Error("the log holds a query")
	}
	if len(p.secrets) < 12 {
		t.Errorf("only %d secrets came by: nothing is being watched", len(p.secrets))
	}
	events := map[string]int{}
	for _, line := range p.lines() {
		events[line["msg"].(string)]++
		if line["msg"] == "request" {
			for _, fact := range []string{"method", "route", "status", "duration_ms", "id"} {
				if line[fact] == nil {
					t.Errorf("a request without its %s: %v", fact, line)
				}
			}
		}
	}
	for event, want := range map[string]int{"login_started": 2, "login_ok": 1, "login_denied": 1, "login_failed": 1, "logout": 1} {
		if events[event] != want {
			t.Errorf("%d lines say %s, want %d", events[event], event, want)
		}
	}
	// That none of the secrets is there is looked at after every test.
}

func TestARequestIDFromOutsideIsKeptWhenItDoesNoHarm(t *testing.T) {
	t.Parallel()
	p := start(t)
	tests := map[string]struct {
		sent string
		kept bool
	}{
		"a good one":      {"abc-DEF-0123456789", true},
		"none":            {"", false},
		"a short one":     {"abc", false},
		"one that lies":   {`abcdefgh","level":"ERROR`, false},
		"a very long one": {strings.Repeat("a", 65), false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequest(http.MethodGet, p.url+"/", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("X-Request-Id", test.sent)
			got := p.visitor().do(r).resp.Header.Get("X-Request-Id")
			if (got == test.sent) != test.kept || len(got) < 8 {
				t.Errorf("sent %q, got %q; kept: want %v", test.sent, got, test.kept)
			}
			await(t, "the log to hold the id", func() bool {
				return strings.Contains(p.log.String(), `"id":"`+got+`"`)
			})
		})
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	p := start(t)
	for _, path := range []string{"/healthz", "/readyz"} {
		r, err := http.NewRequest(http.MethodGet, p.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "10.1.2.3" // as a load balancer asks
		if page := p.visitor().do(r); page.resp.StatusCode != http.StatusOK {
			t.Errorf("%s answers %s, want 200", path, page.resp.Status)
		}
	}
}

func port(tb testing.TB, addr string) string {
	tb.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		tb.Fatal(err)
	}
	return port
}
