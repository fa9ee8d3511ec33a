package twitter

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dghubble/oauth1"
)

const (
	usersMe  = "/2/users/me"
	verify   = "/1.1/account/verify_credentials.json"
	endToken = "/1.1/oauth/invalidate_token.json"

	someWords = "the provider's very own words"
)

var ada = Token{"42-access", "access & secret"}

// api is a provider that answers each path as it is told, counts the calls,
// and has a clock.
type api struct {
	*Provider
	mu      sync.Mutex
	now     time.Time
	answers map[string]http.HandlerFunc
	calls   map[string]int
}

func newAPI(t testing.TB, answers map[string]http.HandlerFunc) *api {
	t.Helper()
	if answers == nil {
		answers = map[string]http.HandlerFunc{}
	}
	a := &api{now: time.Unix(1_800_000_000, 0), answers: answers, calls: map[string]int{}}
	over := make(chan struct{})
	p := provider(t, func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.calls[r.URL.Path]++
		answer := a.answers[r.URL.Path]
		a.mu.Unlock()
		if answer == nil { // hangs
			select {
			case <-r.Context().Done():
			case <-over:
			}
			return
		}
		answer(w, r)
	}, 20*time.Second)
	t.Cleanup(func() { close(over) })
	p.Now = func() time.Time {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.now
	}
	a.Provider = p
	return a
}

func (a *api) advance(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now = a.now.Add(d)
}

// answer makes a path answer from now on; nil makes it hang.
func (a *api) answer(path string, h http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers[path] = h
}

// called returns how often a path was asked for.
func (a *api) called(path string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls[path]
}

// asked returns how often each way to a profile was gone, and forgets it.
func (a *api) asked() [2]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := [2]int{a.calls[usersMe], a.calls[verify]}
	clear(a.calls)
	return n
}

func says(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for pair := range slices.Chunk(header, 2) {
			w.Header().Set(pair[0], pair[1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func refuses(status, code int) http.HandlerFunc {
	return says(status, fmt.Sprintf(`{"errors":[{"code":%d,"message":%q}]}`, code, someWords))
}

func me(id, screenName, name string) http.HandlerFunc {
	return says(200, fmt.Sprintf(`{"data":{"id":%q,"username":%q,"name":%q,"profile_image_url":"https://pbs.twimg.com/me.png"}}`, id, screenName, name))
}

func verified(id, screenName, name string) http.HandlerFunc {
	return says(200, fmt.Sprintf(`{"id":1,"id_str":%q,"screen_name":%q,"name":%q,"profile_image_url_https":"https://pbs.twimg.com/verify.png"}`, id, screenName, name))
}

func reset(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func TestProfileComesTheFirstWayThatWorks(t *testing.T) {
	for _, test := range []struct {
		name              string
		usersMe, verified http.HandlerFunc
		want              Profile
		asked             [2]int
	}{
		{"users/me", me("42", "ada", "Ada"), verified("42", "no", "No"), Profile{"ada", "Ada", "https://pbs.twimg.com/me.png"}, [2]int{1, 0}},
		{"verify_credentials", refuses(403, 0), verified("42", "ada", "Ada"), Profile{"ada", "Ada", "https://pbs.twimg.com/verify.png"}, [2]int{1, 1}},
		{"without a picture", says(200, `{"data":{"id":"42","username":"ada","name":"Ada"}}`), nil, Profile{"ada", "Ada", ""}, [2]int{1, 0}},
		{"without a name", says(200, `{"data":{"id":"42","username":"ada"}}`), nil, Profile{"ada", "", ""}, [2]int{1, 0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newAPI(t, map[string]http.HandlerFunc{usersMe: test.usersMe, verify: test.verified})
			got, err := a.Profile(t.Context(), ada, "42")
			if err != nil || got != test.want {
				t.Errorf("got %+v, %v, want %+v", got, err, test.want)
			}
			if got := a.asked(); got != test.asked {
				t.Errorf("asked %v times, want %v", got, test.asked)
			}
		})
	}
}

// Both ways fail, and the way of the table is then left alone for as long as
// it says, by the clock, and asked again.
func TestProfileFails(t *testing.T) {
	const day = 24 * time.Hour
	inTenMinutes := strconv.FormatInt(1_800_000_000+600, 10)
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		want   Reason
		rests  time.Duration
	}{
		{"402: no credits", says(402, `{"title":"CreditsDepleted","detail":"`+someWords+`"}`), NoCredits, day},
		{"403: not enrolled", says(403, `{"reason":"client-not-enrolled","detail":"`+someWords+`"}`), Refused, day},
		{"403, 453: not in this plan", refuses(403, 453), NotPlanned, day},
		{"404", says(404, someWords), Refused, day},
		{"401, 32: keys", refuses(401, 32), Keys, day},
		{"a redirect", says(302, "", "Location", "/elsewhere"), Refused, day},
		{"429, until", says(429, someWords, "X-Rate-Limit-Reset", inTenMinutes), RateLimited, 10 * time.Minute},
		{"429, 88, until", says(429, `{"errors":[{"code":88}]}`, "X-Rate-Limit-Reset", inTenMinutes), RateLimited, 10 * time.Minute},
		{"429, who knows until when", refuses(429, 88), RateLimited, 15 * time.Minute},
		{"500", says(500, "<h1>"+someWords+"</h1>"), Unavailable, time.Minute},
		{"502", says(502, someWords), Unavailable, time.Minute},
		{"503, 130: over capacity", refuses(503, 130), Unavailable, time.Minute},
		{"504 without a body", says(504, ""), Unavailable, time.Minute},
		{"a reset", reset, Unreachable, time.Minute},
		{"an answer cut short", says(200, `{"data"`, "Content-Length", "999"), Unreachable, time.Minute},
		{"HTML", says(200, "<html>"+someWords+"</html>"), Garbled, 0},
		{"nothing", says(200, ""), Garbled, 0},
		{"huge", says(200, `{"data":{"id":"42","username":"ada","name":"`+strings.Repeat("a", maxAnswer)+`"}}`), Garbled, 0},
		{"errors in a 200", says(200, `{"errors":[{"detail":"`+someWords+`"}]}`), Garbled, 0},
		{"somebody else", says(200, `{"data":{"id":"43","username":"eve"},"id_str":"43","screen_name":"eve"}`), Garbled, 0},
		{"nobody", says(200, `{"data":{"id":"","username":"ada"},"screen_name":"ada"}`), Garbled, 0},
		{"an id that is a number", says(200, `{"data":{"id":42,"username":"ada"},"id":42,"screen_name":"ada"}`), Garbled, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newAPI(t, map[string]http.HandlerFunc{usersMe: test.answer, verify: test.answer})
			fails := func(asked [2]int) {
				t.Helper()
				_, err := a.Profile(t.Context(), ada, "42")
				var e *Error
				if !errors.As(err, &e) || e.Reason != test.want || strings.Contains(err.Error(), someWords) {
					t.Errorf("got %v, want an *Error with the reason %s", err, test.want)
				}
				if e != nil && test.rests == 10*time.Minute && !e.RetryAt.Equal(time.Unix(1_800_000_600, 0)) {
					t.Errorf("to be tried again at %v", e.RetryAt)
				}
				if got := a.asked(); got != asked {
					t.Errorf("asked %v times, want %v", got, asked)
				}
			}
			fails([2]int{1, 1})
			if test.rests > 0 {
				fails([2]int{0, 0})
				a.advance(test.rests - time.Second)
				fails([2]int{0, 0})
				a.advance(time.Second)
			}
			if test.want == RateLimited { // the header of old means nothing now
				a.answer(usersMe, me("42", "ada", "Ada"))
				if got, err := a.Profile(t.Context(), ada, "42"); err != nil || got.ScreenName != "ada" {
					t.Errorf("afterwards: %+v, %v", got, err)
				}
				return
			}
			fails([2]int{1, 1})
		})
	}
}

func TestProfileHangs(t *testing.T) {
	a := newAPI(t, nil)
	a.Timeout = 500 * time.Millisecond // long enough for the calls to arrive
	for _, asked := range [][2]int{{1, 1}, {0, 0}} {
		_, err := a.Profile(t.Context(), ada, "42")
		var e *Error
		if !errors.As(err, &e) || e.Reason != Unreachable || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want Unreachable for the time it took", err)
		}
		if got := a.asked(); got != asked {
			t.Errorf("asked %v times, want %v", got, asked)
		}
	}
}

// Only the way that was refused rests.
func TestARefusedWayDoesNotStandInTheOthersWay(t *testing.T) {
	a := newAPI(t, map[string]http.HandlerFunc{usersMe: refuses(403, 453), verify: verified("42", "ada", "Ada")})
	for _, asked := range [][2]int{{1, 1}, {0, 1}, {0, 1}} {
		if got, err := a.Profile(t.Context(), ada, "42"); err != nil || got.ScreenName != "ada" {
			t.Errorf("got %+v, %v", got, err)
		}
		if got := a.asked(); got != asked {
			t.Errorf("asked %v times, want %v", got, asked)
		}
	}
	a.advance(24 * time.Hour)
	a.answer(usersMe, me("42", "ada_l", "Ada"))
	if got, err := a.Profile(t.Context(), ada, "42"); err != nil || got.ScreenName != "ada_l" {
		t.Errorf("a day later: %+v, %v", got, err)
	}
	if got := a.asked(); got != [2]int{1, 0} {
		t.Errorf("a day later asked %v times", got)
	}
}

// The person hears of what passes first: "at 12:15", not "never".
func TestTheErrorIsOfTheWayThatMayBeTriedAgainFirst(t *testing.T) {
	never, later, soon := refuses(403, 453), refuses(429, 88), refuses(503, 130)
	for _, test := range []struct {
		usersMe, verify http.HandlerFunc
		want            Reason
	}{
		{never, later, RateLimited}, {later, never, RateLimited}, {later, soon, Unavailable}, {soon, later, Unavailable}, {never, soon, Unavailable}, {soon, never, Unavailable},
	} {
		a := newAPI(t, map[string]http.HandlerFunc{usersMe: test.usersMe, verify: test.verify})
		for _, when := range []string{"when asked", "while they rest"} {
			_, err := a.Profile(t.Context(), ada, "42")
			var e *Error
			if !errors.As(err, &e) || e.Reason != test.want {
				t.Errorf("%s: got %v, want %s", when, err, test.want)
			}
		}
	}
}

// What is wrong with one person is no reason to leave the others alone.
func TestWhatIsAboutThePersonRestsNothing(t *testing.T) {
	for code, want := range map[int]Reason{89: Expired, 326: Locked, 64: Locked, 63: Locked} {
		a := newAPI(t, map[string]http.HandlerFunc{usersMe: refuses(401, code), verify: verified("42", "ada", "Ada")})
		for range 2 {
			_, err := a.Profile(t.Context(), ada, "42")
			var e *Error
			if !errors.As(err, &e) || e.Reason != want {
				t.Errorf("%d: got %v, want %s", code, err, want)
			}
			if got := a.asked(); got != [2]int{1, 0} {
				t.Errorf("%d: asked %v times, want the first way alone, each time", code, got)
			}
		}
		a.answer(usersMe, me("43", "eve", "Eve"))
		if got, err := a.Profile(t.Context(), Token{"43-access", "s"}, "43"); err != nil || got.ScreenName != "eve" {
			t.Errorf("%d: afterwards somebody else gets %+v, %v", code, got, err)
		}
	}
}

// A visitor who leaves says nothing about the provider.
func TestAVisitorWhoLeavesRestsNothing(t *testing.T) {
	visitor, leave := context.WithCancel(t.Context())
	a := newAPI(t, map[string]http.HandlerFunc{usersMe: func(_ http.ResponseWriter, r *http.Request) { leave(); <-r.Context().Done() }})
	if _, err := a.Profile(visitor, ada, "42"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	a.asked()
	a.answer(usersMe, me("42", "ada", "Ada"))
	if _, err := a.Profile(t.Context(), ada, "42"); err != nil || a.asked() != [2]int{1, 0} {
		t.Errorf("the next: %v", err)
	}
}

func TestHostileProfiles(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"markup", `<script>alert(1)</script>`, `<script>alert(1)</script>`}, // for the views to escape
		{"control characters", "A\x00d\r\na\x1b[31m\u0085\x7f", "Ada[31m"},
		{"line separators", "A\u2028d\u2029a", "Ada"},
		{"bidi", "\u202eadA\u202c", "\u202eadA\u202c"}, // isolated by bdi
		{"invalid UTF-8", "A\xff\xfed\xc3(a", "Ad(a"},
		{"replacement characters", "A\ufffdda", "Ada"},
		{"10,000 characters", strings.Repeat("雀", 10_000), strings.Repeat("雀", 50)},
		{"50 characters", strings.Repeat("雀", 50), strings.Repeat("雀", 50)},
		{"spaces around", "  Ada\t", "Ada"},
		{"nothing but space", " \t\r\n ", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			quoted := `"` + strings.NewReplacer("\x00", `\u0000`, "\r", `\r`, "\n", `\n`, "\t", `\t`, "\x1b", `\u001b`).Replace(test.text) + `"`
			body := `{"data":{"id":"42","username":"ada","name":` + quoted + `},"id_str":"42","screen_name":"ada","name":` + quoted + `}`
			for _, way := range []string{usersMe, verify} {
				a := newAPI(t, map[string]http.HandlerFunc{usersMe: refuses(403, 453), verify: refuses(403, 453)})
				a.answer(way, says(200, body))
				if got, err := a.Profile(t.Context(), ada, "42"); err != nil || got.Name != test.want {
					t.Errorf("%s: got %q, %v, want %q", way, got.Name, err, test.want)
				}
			}
		})
	}
	for _, name := range []string{"", "a b", "<b>", "@ada", "ädä", "ada\n", "ada\u202e", strings.Repeat("a", 51), "../ada", "ada\x00"} {
		quoted, _, _ := strings.Cut(fmt.Sprintf("%+q", name), "\x00")
		quoted = strings.ReplaceAll(quoted, `\x00`, `\u0000`)
		body := `{"data":{"id":"42","username":` + quoted + `},"id_str":"42","screen_name":` + quoted + `}`
		a := newAPI(t, map[string]http.HandlerFunc{usersMe: says(200, body), verify: says(200, body)})
		_, err := a.Profile(t.Context(), ada, "42")
		var e *Error
		if !errors.As(err, &e) || e.Reason != Garbled {
			t.Errorf("screen name %q: got %v, want garbled", name, err)
		}
	}
}

// A call is signed with the consumer's keys and the person's pair, over its
// method, address and form (RFC 5849 §3.4).
func TestClientSigns(t *testing.T) {
	for _, test := range []struct {
		name, method, path string
		form               url.Values
	}{
		{"GET", "GET", "/2/users/me", nil},
		{"GET with a query", "GET", "/2/users/me?user.fields=name,id&a=%C3%A4+b", nil},
		{"POST", "POST", "/2/tweets", nil},
		{"POST with a form", "POST", "/1.1/statuses/update.json?a=b", url.Values{"status": {"Hello Ladies + Gentlemen, a signed OAuth request!"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got, want string
			a := newAPI(t, nil)
			answer := func(w http.ResponseWriter, r *http.Request) {
				oauth, all := url.Values{}, r.URL.Query()
				for _, param := range strings.Split(strings.TrimPrefix(r.Header.Get("Authorization"), "OAuth "), ", ") {
					name, value, _ := strings.Cut(param, "=")
					value, _ = url.PathUnescape(strings.Trim(value, `"`))
					oauth.Set(name, value)
					if name != "oauth_signature" {
						all.Set(name, value)
					}
				}
				r.ParseForm()
				for name, values := range r.PostForm {
					all[name] = values
				}
				var pairs []string
				for name := range all {
					pairs = append(pairs, oauth1.PercentEncode(name)+"="+oauth1.PercentEncode(all.Get(name)))
				}
				slices.Sort(pairs)
				base := r.Method + "&" + oauth1.PercentEncode("http://"+r.Host+r.URL.Path) + "&" + oauth1.PercentEncode(strings.Join(pairs, "&"))
				want, _ = signer{"secret"}.Sign(ada.Secret, base)
				got = oauth.Get("oauth_signature")
				if oauth.Get("oauth_token") != ada.Token || oauth.Get("oauth_consumer_key") != "key" {
					t.Errorf("signed by %q for %q", oauth.Get("oauth_consumer_key"), oauth.Get("oauth_token"))
				}
				w.WriteHeader(http.StatusCreated)
				io.WriteString(w, `{"data":1}`)
			}
			path, _, _ := strings.Cut(test.path, "?")
			a.answer(path, answer)
			r, err := http.NewRequest(test.method, a.APIURL.String()+test.path, strings.NewReader(test.form.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			if test.form != nil {
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			response, err := a.Client(t.Context(), ada).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if body, err := io.ReadAll(response.Body); response.StatusCode != http.StatusCreated || string(body) != `{"data":1}` || err != nil {
				t.Errorf("answered %d %q, %v", response.StatusCode, body, err)
			}
			if got != want || got == "" {
				t.Errorf("signature %q, want %q", got, want)
			}
		})
	}
}

// Errors are typed, and found through what http.Client wraps around them.
func TestClientFails(t *testing.T) {
	big := `"` + strings.Repeat("a", maxAnswer-2) + `"`
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		want   Reason // empty: none
		status int
	}{
		{"200", says(200, "{}"), "", 200},
		{"201", says(201, "{}"), "", 201},
		{"204", says(204, ""), "", 204},
		{"64 KiB", says(200, big), "", 200},
		{"64 KiB and a byte", says(200, big+"a"), Garbled, 200},
		{"a gzip bomb", says(200, zipped(bytes.Repeat([]byte("a"), 4<<20)), "Content-Encoding", "gzip"), Garbled, 200},
		{"300", says(300, someWords), Refused, 300},
		{"a redirect", says(302, "", "Location", "/2/elsewhere"), Refused, 302},
		{"a redirect to repeat the call", says(307, "", "Location", "/2/elsewhere"), Refused, 307},
		{"revoked", refuses(401, 89), Expired, 401},
		{"401 without a code", says(401, someWords), Expired, 401},
		{"locked", refuses(403, 326), Locked, 403},
		{"too many", refuses(429, 88), RateLimited, 429},
		{"no credits", says(402, someWords), NoCredits, 402},
		{"not in this plan", refuses(403, 453), NotPlanned, 403},
		{"not permitted", says(403, someWords), Refused, 403},
		{"not there", says(404, someWords), Refused, 404},
		{"out of order", says(503, someWords), Unavailable, 503},
		{"cut", reset, Unreachable, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newAPI(t, map[string]http.HandlerFunc{"/2/some/call": test.answer})
			response, err := a.Client(t.Context(), ada).Get(a.APIURL.String() + "/2/some/call")
			if test.want == "" {
				if err != nil || response.StatusCode != test.status {
					t.Fatalf("got %v, want %d", err, test.status)
				}
				response.Body.Close()
				return
			}
			var e *Error
			if !errors.As(err, &e) || e.Reason != test.want || e.Status != test.status || e.Call != "/2/some/call" {
				t.Fatalf("got %v, want %s with %d", err, test.want, test.status)
			}
			if strings.Contains(err.Error(), someWords) {
				t.Errorf("the error quotes the provider: %v", err)
			}
			if n := a.called("/2/elsewhere"); n != 0 {
				t.Errorf("the redirect was followed")
			}
		})
	}
}

func zipped(content []byte) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(content)
	z.Close()
	return b.String()
}

func TestClientGoesToTheProviderAlone(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("called") }))
	defer other.Close()
	a := newAPI(t, map[string]http.HandlerFunc{"/": says(200, "")})
	for _, address := range []string{
		other.URL,
		"https://" + a.APIURL.Host + "/",
		"http://" + strings.Replace(a.APIURL.Host, "127.0.0.1", "localhost", 1) + "/",
		"http://" + a.APIURL.Host + "@" + strings.TrimPrefix(other.URL, "http://") + "/",
	} {
		var e *Error
		if _, err := a.Client(t.Context(), ada).Get(address); !errors.As(err, &e) || e.Status != 0 {
			t.Errorf("%s: got %v, want a refusal", address, err)
		}
	}
	if n := a.called("/"); n != 0 {
		t.Errorf("called %d times", n)
	}
}

// Both contexts end a call: the one that Client got, and the request's own.
func TestClientEndsWithEitherContext(t *testing.T) {
	for _, which := range []string{"the client's", "the request's"} {
		ctx, cancel := context.WithCancel(t.Context())
		contexts := map[string]context.Context{"the client's": t.Context(), "the request's": t.Context()}
		contexts[which] = ctx
		a := newAPI(t, map[string]http.HandlerFunc{"/": func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() }})
		r, err := http.NewRequestWithContext(contexts["the request's"], http.MethodGet, a.APIURL.String()+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Client(contexts["the client's"], ada).Do(r); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want context.Canceled", which, err)
		}
		cancel()
	}
}

func TestRevoke(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		want   Reason // empty: revoked
	}{
		{"ended", says(200, `{"access_token":"42-access"}`), ""},
		{"ended before", refuses(401, 89), ""},
		{"ended before, in plain text", says(401, someWords), ""},
		{"the keys are wrong", refuses(401, 32), Keys},
		{"locked", refuses(403, 326), Locked},
		{"no credits", says(402, someWords), NoCredits},
		{"not in this plan", refuses(403, 453), NotPlanned},
		{"refused", says(403, someWords), Refused},
		{"not there", says(404, someWords), Refused},
		{"too many", refuses(429, 88), RateLimited},
		{"out of order", says(500, someWords), Unavailable},
		{"over capacity", refuses(503, 130), Unavailable},
		{"a redirect", says(302, "", "Location", "/elsewhere"), Refused},
		{"cut", reset, Unreachable},
		{"huge", says(200, strings.Repeat("a", maxAnswer+1)), Garbled},
	} {
		t.Run(test.name, func(t *testing.T) {
			var method, token string
			a := newAPI(t, nil)
			a.answer(endToken, func(w http.ResponseWriter, r *http.Request) {
				a.mu.Lock()
				method, token = r.Method, r.Header.Get("Authorization")
				a.mu.Unlock()
				test.answer(w, r)
			})
			err := a.Revoke(t.Context(), ada)
			var e *Error
			if test.want == "" && err != nil || test.want != "" && (!errors.As(err, &e) || e.Reason != test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			calls := a.called(endToken)
			a.mu.Lock()
			defer a.mu.Unlock()
			if method != http.MethodPost || !strings.Contains(token, `oauth_token="42-access"`) || calls != 1 {
				t.Errorf("called %d times, by %s, with %q", calls, method, token)
			}
		})
	}
	t.Run("hangs", func(t *testing.T) {
		a := newAPI(t, nil)
		a.Timeout = 50 * time.Millisecond
		if err := a.Revoke(t.Context(), ada); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want it to be over in time", err)
		}
	})
}

// pictures in the formats that X serves.
func pictures(t testing.TB) map[string]string {
	t.Helper()
	square := image.NewGray(image.Rect(0, 0, 8, 8))
	var asPNG, asJPEG, asGIF bytes.Buffer
	if err := errors.Join(png.Encode(&asPNG, square), jpeg.Encode(&asJPEG, square, nil), gif.Encode(&asGIF, square, nil)); err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"image/png": asPNG.String(), "image/jpeg": asJPEG.String(), "image/gif": asGIF.String(),
		"image/webp": "RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00\x2f\x00\x00\x00\x10\x07\x10\x11\x11\x88\x88\xfe\x07\x00",
	}
}

func TestAvatarTakesPictures(t *testing.T) {
	hashes := map[string]bool{}
	for kind, content := range pictures(t) {
		a := newAPI(t, map[string]http.HandlerFunc{"/me": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" {
				t.Errorf("a picture is asked for with %v", r.Header)
			}
			says(200, content, "Content-Type", "text/html")(w, r) // what it is called does not matter
		}})
		got, err := a.Avatar(t.Context(), a.APIURL.String()+"/me")
		if err != nil || got.Type != kind || string(got.Content) != content || len(got.Hash) != 32 {
			t.Errorf("%s: got %s of %d bytes, %v", kind, got.Type, len(got.Content), err)
		}
		hashes[got.Hash] = true
	}
	if len(hashes) != 4 {
		t.Errorf("four pictures have %d names", len(hashes))
	}
}

func TestAvatarRefusesWhatIsNoPicture(t *testing.T) {
	asPNG := pictures(t)["image/png"]
	full := asPNG + strings.Repeat("\x00", maxAvatar-len(asPNG))
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		want   Reason // empty: fine
	}{
		{"256 KiB", says(200, full), ""},
		{"256 KiB and a byte", says(200, full+"\x00"), Garbled},
		{"10 MB", says(200, asPNG+strings.Repeat("\x00", 10<<20)), Garbled},
		{"a gzip bomb", says(200, zipped([]byte(asPNG+strings.Repeat("\x00", 16<<20))), "Content-Encoding", "gzip"), Garbled},
		{"gzip that is none", says(200, asPNG, "Content-Encoding", "gzip"), Unreachable},
		{"SVG with a script", says(200, `<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`, "Content-Type", "image/svg+xml"), Garbled},
		{"SVG that begins as XML", says(200, `<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>`, "Content-Type", "image/png"), Garbled},
		{"HTML as an image", says(200, "<!doctype html><script>alert(1)</script>", "Content-Type", "image/png"), Garbled},
		{"a script as an image", says(200, "alert(1)", "Content-Type", "image/png"), Garbled},
		{"a bitmap", says(200, "BM\x00\x00", "Content-Type", "image/png"), Garbled},
		{"an icon", says(200, "\x00\x00\x01\x00\x01", "Content-Type", "image/png"), Garbled},
		{"a PDF", says(200, "%PDF-1.7", "Content-Type", "image/png"), Garbled},
		{"nothing", says(200, "", "Content-Type", "image/png"), Garbled},
		{"cut short", says(200, asPNG, "Content-Length", "9999"), Unreachable},
		{"a reset", reset, Unreachable},
		{"a redirect to a picture", says(302, asPNG, "Location", "/picture"), Garbled},
		{"a redirect inside", says(302, "", "Location", "http://169.254.169.254/"), Garbled},
		{"not there", says(404, asPNG), Garbled},
		{"out of order", says(500, asPNG), Garbled},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newAPI(t, map[string]http.HandlerFunc{"/me": test.answer, "/picture": says(200, asPNG)})
			got, err := a.Avatar(t.Context(), a.APIURL.String()+"/me")
			var e *Error
			if test.want == "" && err != nil || test.want != "" && (!errors.As(err, &e) || e.Reason != test.want || got.Content != nil) {
				t.Errorf("got %s of %d bytes, %v, want %q", got.Type, len(got.Content), err, test.want)
			}
			if a.called("/picture") != 0 {
				t.Error("the redirect was followed")
			}
		})
	}
	t.Run("hangs", func(t *testing.T) {
		a := newAPI(t, nil)
		a.Timeout = 50 * time.Millisecond
		if _, err := a.Avatar(t.Context(), a.APIURL.String()+"/me"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want it to be over in time", err)
		}
	})
}

// wrapped is a transport for tests that must not reach the network.
type wrapped func(*http.Request) (*http.Response, error)

func (w wrapped) RoundTrip(r *http.Request) (*http.Response, error) { return w(r) }

func TestAvatarComesFromWhereXKeepsPictures(t *testing.T) {
	asPNG := pictures(t)["image/png"]
	for _, api := range []struct {
		origin  string
		allowed map[string]bool
	}{
		{"https://api.x.com", map[string]bool{
			"https://pbs.twimg.com/profile_images/1/me_normal.jpg":                    true,
			"https://abs.twimg.com/sticky/default_profile_images/default_profile.png": true,
			"http://pbs.twimg.com/me.jpg":                                             false,
			"https://pbs.twimg.com:8443/me.jpg":                                       false,
			"https://pbs.twimg.com:443/me.jpg":                                        false,
			"https://pbs.twimg.com.evil.example/me.jpg":                               false,
			"https://evil.example/pbs.twimg.com/me.jpg":                               false,
			"https://evil.example#pbs.twimg.com":                                      false,
			"https://evilpbs.twimg.com/me.jpg":                                        false,
			"https://twimg.com/me.jpg":                                                false,
			"https://api.x.com/me.jpg":                                                false,
			"https://user@pbs.twimg.com/me.jpg":                                       false,
			"https://pbs.twimg.com:x@evil.example/me.jpg":                             false,
			"https://pbs.twimg.com@evil.example/me.jpg":                               false,
			"https://pbs.twimg.com\\@evil.example/me.jpg":                             false,
			"https://pbs.twimg.com./me.jpg":                                           false,
			"//pbs.twimg.com/me.jpg":                                                  false,
			"/me.jpg":                                                                 false,
			"":                                                                        false,
			"javascript:alert(1)":                                                     false,
			"data:image/png;base64,iVBORw0KGgo=":                                      false,
			"file:///etc/passwd":                                                      false,
			"ftp://pbs.twimg.com/me.jpg":                                              false,
			"gopher://pbs.twimg.com/1":                                                false,
			"http://169.254.169.254/latest/meta-data/":                                false,
			"http://localhost:8080/":                                                  false,
			"https://127.0.0.1/":                                                      false,
			"https://[::1]/":                                                          false,
			"https://pbs.twimg.com/\nHost: evil.example":                              false,
			"https:pbs.twimg.com/me.jpg":                                              false,
			"https://pbs.twimg.com%2eevil.example/me.jpg":                             false,
			"https://PBS.twimg.com/" + strings.Repeat("a", 10_000) + "/\x00/me.jpg":   false,
			"https://xn--pbs-twimg.com/" + strings.Repeat("a", 10_000) + "/me.jpg?a=%b": false,
		}},
		{"http://localhost:8081", map[string]bool{
			"http://localhost:8081/sandbox/avatars/12.png": true,
			"http://localhost:8080/avatar/x":               false,
			"http://localhost/":                            false,
			"http://127.0.0.1:8081/":                       false,
			"https://localhost:8081/":                      false,
			"https://pbs.twimg.com/me.jpg":                 false,
			"http://user@localhost:8081/":                  false,
			"http://169.254.169.254/":                      false,
		}},
	} {
		origin, err := url.Parse(api.origin)
		if err != nil {
			t.Fatal(err)
		}
		for address, allowed := range api.allowed {
			p, called := New(Options{APIURL: origin}), false
			p.transport = wrapped(func(*http.Request) (*http.Response, error) {
				called = true
				return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(asPNG))}, nil
			})
			_, err := p.Avatar(t.Context(), address)
			if called != allowed || (err == nil) != allowed {
				t.Errorf("%s at %.80q: asked for: %v, error %v, want %v", api.origin, address, called, err, allowed)
			}
		}
	}
}
