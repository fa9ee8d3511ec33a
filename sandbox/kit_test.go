package sandbox

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"
	"github.com/dghubble/oauth1"
)

const (
	callback      = "http://127.0.0.1:8080/oauth-authorized"
	otherCallback = "http://127.0.0.1:8080/back?kept=1"
)

// kit is a sandbox with a clock that tests turn, its log, and a client that can be told to do everything wrong.
type kit struct {
	*Server
	nonce int
	mu    sync.Mutex
	now   time.Time
	logs  bytes.Buffer
}

func newKit(t testing.TB, accounts ...Account) *kit {
	t.Helper()
	k := &kit{now: time.Now().Truncate(time.Second)}
	s, err := New(Options{
		Callbacks: []string{callback, otherCallback},
		Accounts:  accounts,
		Now: func() time.Time {
			k.mu.Lock()
			defer k.mu.Unlock()
			return k.now
		},
		Log: slog.New(slog.NewTextHandler(&k.logs, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	k.Server = s
	return k
}

func (k *kit) turn(d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.now = k.now.Add(d)
}

// signed is a request to be: well signed unless told otherwise.
type signed struct {
	method, path   string            // POST when empty; with the query, when it has one
	form           url.Values        // the body
	oauth          map[string]string // on top of the usual ones; a value of "-" leaves one out
	where          string            // of the oauth_ parameters: "header" when empty, "query" or "body"
	consumerSecret string            // the right one when empty
	tokenSecret    string
	edit           func(*http.Request) // after signing
}

// request signs q.
func (k *kit) request(t testing.TB, q signed) *http.Request {
	t.Helper()
	k.nonce++
	oauth := map[string]string{
		"oauth_consumer_key":     k.ConsumerKey(),
		"oauth_nonce":            "nonce" + strconv.Itoa(k.nonce),
		"oauth_signature_method": "HMAC-SHA1",
		"oauth_timestamp":        strconv.FormatInt(k.opts.Now().Unix(), 10),
		"oauth_version":          "1.0",
	}
	maps.Copy(oauth, q.oauth)
	maps.DeleteFunc(oauth, func(_, v string) bool { return v == "-" })
	if q.method == "" {
		q.method = "POST"
	}
	if q.consumerSecret == "" {
		q.consumerSecret = k.ConsumerSecret()
	}

	build := func() *http.Request {
		var header []string
		query, form := url.Values{}, maps.Clone(q.form)
		for name, value := range oauth {
			switch q.where {
			case "query":
				query.Set(name, value)
			case "body":
				if form == nil {
					form = url.Values{}
				}
				form.Set(name, value)
			default:
				header = append(header, name+`="`+oauth1.PercentEncode(value)+`"`)
			}
		}
		target := "http://localhost:8081" + q.path
		if len(query) > 0 {
			target += "?" + query.Encode()
		}
		var body io.Reader
		if form != nil {
			body = strings.NewReader(form.Encode())
		}
		r := httptest.NewRequest(q.method, target, body)
		if form != nil {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
		}
		if header != nil {
			r.Header.Set("Authorization", `OAuth realm="a, b", `+strings.Join(header, ", "))
		}
		return r
	}
	if _, given := oauth["oauth_signature"]; !given && q.oauth["oauth_signature"] != "-" {
		from, err := sources(build())
		if err != nil {
			t.Fatal(err)
		}
		var all []param
		for _, params := range from {
			all = append(all, params...)
		}
		oauth["oauth_signature"] = sign(baseString("http", build(), all), q.consumerSecret, q.tokenSecret)
	}
	r := build()
	if q.edit != nil {
		q.edit(r)
	}
	return r
}

// answered is what a call came back with.
type answered struct {
	status int
	header http.Header
	body   string
}

// code is the code in a JSON or XML body, or the body itself when there is none.
func (a answered) code() string {
	var list struct{ Errors []struct{ Code int } }
	if json.Unmarshal([]byte(a.body), &list) == nil && len(list.Errors) == 1 {
		return strconv.Itoa(list.Errors[0].Code)
	}
	if _, rest, ok := strings.Cut(a.body, `<error code="`); ok {
		code, _, _ := strings.Cut(rest, `"`)
		return code
	}
	return a.body
}

// do has the sandbox answer r, without a network.
func (k *kit) do(r *http.Request) answered {
	w := httptest.NewRecorder()
	k.ServeHTTP(w, r)
	return answered{w.Code, w.Result().Header, w.Body.String()}
}

func (k *kit) call(t testing.TB, q signed) answered {
	t.Helper()
	return k.do(k.request(t, q))
}

// begin gets a request token.
func (k *kit) begin(t testing.TB) (token, secret string) {
	t.Helper()
	a := k.call(t, signed{path: "/oauth/request_token", oauth: map[string]string{"oauth_callback": callback}})
	v, err := url.ParseQuery(a.body)
	if err != nil || a.status != http.StatusOK || v.Get("oauth_callback_confirmed") != "true" {
		t.Fatalf("request_token answered %d %s", a.status, a.body)
	}
	return v.Get("oauth_token"), v.Get("oauth_token_secret")
}

// approve has the account agree, and returns the verifier.
func (k *kit) approve(t testing.TB, token, account string) (verifier string) {
	t.Helper()
	b := newBrowser(t, k)
	_, page := b.get("/oauth/authenticate?oauth_token=" + token)
	next := b.submit(page, account, "authorize")
	u, err := url.Parse(next)
	if err != nil || u.Query().Get("oauth_verifier") == "" {
		t.Fatalf("consent led to %q", next)
	}
	return u.Query().Get("oauth_verifier")
}

// signIn goes all the way, and returns the body of access_token.
func (k *kit) signIn(t testing.TB, account string) url.Values {
	t.Helper()
	token, secret := k.begin(t)
	a := k.call(t, signed{path: "/oauth/access_token", tokenSecret: secret,
		oauth: map[string]string{"oauth_token": token, "oauth_verifier": k.approve(t, token, account)}})
	v, err := url.ParseQuery(a.body)
	if err != nil || a.status != http.StatusOK {
		t.Fatalf("access_token answered %d %s", a.status, a.body)
	}
	return v
}

// browser keeps cookies and does not run off after redirects.
type browser struct {
	t      testing.TB
	base   string
	client *http.Client
}

func newBrowser(t testing.TB, k *kit) *browser {
	t.Helper()
	server := httptest.NewServer(k)
	t.Cleanup(server.Close)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, server.URL, &http.Client{
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (b *browser) get(path string) (*http.Response, *goquery.Document) {
	b.t.Helper()
	response, err := b.client.Get(b.base + path)
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	page, err := goquery.NewDocumentFromReader(response.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return response, page
}

// submit chooses an account (the one that is preselected when "") and presses a button, and returns where that leads.
func (b *browser) submit(page *goquery.Document, account, button string) (location string) {
	b.t.Helper()
	form := page.Find("form#consent")
	if form.Length() != 1 {
		b.t.Fatalf("no consent form in %s", page.Text())
	}
	values := url.Values{}
	form.Find("input").Each(func(_ int, in *goquery.Selection) {
		_, checked := in.Attr("checked")
		if in.AttrOr("type", "") == "hidden" || checked {
			values.Set(in.AttrOr("name", ""), in.AttrOr("value", ""))
		}
	})
	if account != "" {
		values.Set("account", account)
	}
	pressed := form.Find("button#" + button)
	values.Set(pressed.AttrOr("name", ""), pressed.AttrOr("value", ""))
	response, err := b.client.PostForm(b.base+form.AttrOr("action", ""), values)
	if err != nil {
		b.t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusSeeOther {
		b.t.Fatalf("the form answered %s", response.Status)
	}
	return response.Header.Get("Location")
}
