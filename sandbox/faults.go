package sandbox

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fault is something that goes wrong on purpose, for people to see what their program makes of it.
type Fault struct {
	Kind     string `json:"kind"`               // one of FaultKinds
	Endpoint string `json:"endpoint,omitempty"` // request_token, authenticate, authorize, access_token, verify_credentials, users_me, invalidate_token; "" for all signed calls that the kind fits
	Times    int    `json:"times,omitempty"`    // requests it lasts, and of Faults those that are left; 0: until cleared
	Seconds  int    `json:"seconds,omitempty"`  // for slow, drip and hang, 0: as the kind says; for clock how far it is ahead, below 0 behind
}

// FaultKind is a kind of fault: its name, and a sentence of what it does.
type FaultKind struct {
	Name string `json:"name"`
	Says string `json:"says"`
}

// faultKind is a FaultKind with what it does: one of refusal, drop and do; those that let the call go on as it would have none.
type faultKind struct {
	FaultKind
	refusal *refusal                                                                              // is the answer
	drop    string                                                                                // is missing from the answer
	do      func(f Fault, w http.ResponseWriter, r *http.Request, next func(http.ResponseWriter)) // answers
	on      []string                                                                              // endpoints where it makes sense; none: everywhere
	seconds bool                                                                                  // takes Seconds
}

// goesOn tells whether the call is answered as ever, so that another fault may befall it as well.
func (k faultKind) goesOn() bool { return k.refusal == nil && k.drop == "" && k.do == nil }

const maxFaults = 100

// faultKinds are X's refusals, by the table of what X is known to answer, and then what networks and broken servers do.
var faultKinds = []faultKind{
	{FaultKind: FaultKind{"keys", "401, code 32: the keys are wrong, or regenerated."}, refusal: refuseJSON(401, 32, "Could not authenticate you.", "")},
	{FaultKind: FaultKind{"timestamp", "401, code 135: the timestamp is out of bounds."}, refusal: refuseJSON(401, 135, "Timestamp out of bounds.", "")},
	{FaultKind: FaultKind{"bad-data", "400, code 215: bad authentication data."}, refusal: refuseJSON(400, 215, "Bad Authentication data.", "")},
	{FaultKind: FaultKind{"token", "401, code 89: the token is invalid or expired."}, refusal: refuseJSON(401, 89, "Invalid or expired token.", "")},
	{FaultKind: FaultKind{"no-token", "401 in plain text: the request token is missing."}, refusal: refuseText("Request token missing", "")},
	{FaultKind: FaultKind{"verifier", "401 in plain text: the verifier was used already."}, refusal: errVerifier},
	{FaultKind: FaultKind{"not-request-token", "401 in old XML: this is no request token."}, refusal: errNotRequestToken},
	{FaultKind: FaultKind{"callback", "403 in XML, code 415: the callback is not approved."}, refusal: errCallback},
	{FaultKind: FaultKind{"app-suspended", "401, code 416: the application is suspended."}, refusal: refuseJSON(401, 416, "Invalid / suspended application", "")},
	{FaultKind: FaultKind{"desktop", "401, code 417: desktop applications take oob as callback only."}, refusal: errDesktop},
	{FaultKind: FaultKind{"desktop-xml", "401 in old XML without a code: desktop applications take oob as callback only."},
		refusal: refuseHash("Desktop applications only support the oauth_callback value 'oob'", "/oauth/request_token", "")},
	{FaultKind: FaultKind{"plan", "403, code 453: the plan lacks this endpoint."}, refusal: refuseJSON(403, 453, "You currently have access to a subset of X API V2 endpoints "+
		"and limited v1.1 endpoints (e.g. media post, oauth) only. If you need access to this endpoint, you may need a different access level.", "")},
	{FaultKind: FaultKind{"locked", "403, code 326: the account is locked."}, refusal: errLocked},
	{FaultKind: FaultKind{"suspended", "403, code 64: the account is suspended."}, refusal: errSuspended},
	{FaultKind: FaultKind{"user-suspended", "403, code 63: the user has been suspended."}, refusal: refuseJSON(403, 63, "User has been suspended.", "")},
	{FaultKind: FaultKind{"no-credits", "402, CreditsDepleted: the plan is used up."}, refusal: refuseProblem(402, "CreditsDepleted", "",
		"Your enrolled account does not have any credits to fulfill this request.", "credits")},
	{FaultKind: FaultKind{"not-enrolled", "403, client-not-enrolled: the application is in no project."}, refusal: refuseProblem(403, "Client Forbidden", "client-not-enrolled",
		"When authenticating requests to the Twitter API v2 endpoints, you must use keys and tokens from a Twitter developer App that is attached to a Project.", "client-forbidden")},
	{FaultKind: FaultKind{"client-forbidden", "403, client-forbidden: the application may not."}, refusal: refuseProblem(403, "Forbidden", "client-forbidden",
		"This client is not permitted to perform this action.", "client-forbidden")},
	{FaultKind: FaultKind{"rate-limit", "429, code 88, with x-rate-limit-reset in 15 minutes."}, refusal: errRate},
	{FaultKind: FaultKind{"internal", "500, code 131: an internal error."}, refusal: refuseJSON(500, 131, "Internal error", "")},
	{FaultKind: FaultKind{"bad-gateway", "502 with a page in HTML."}, refusal: refuseHTML(502, "Bad Gateway")},
	{FaultKind: FaultKind{"over-capacity", "503, code 130: over capacity."}, refusal: refuseJSON(503, 130, "Over capacity", "")},
	{FaultKind: FaultKind{"unavailable", "503 with a page in HTML."}, refusal: refuseHTML(503, "Service Unavailable")},
	{FaultKind: FaultKind{"gateway-timeout", "504 with a page in HTML."}, refusal: refuseHTML(504, "Gateway Timeout")},

	{FaultKind: FaultKind{"slow", "The right answer, after 10 seconds, or as many as are asked for."}, seconds: true},
	{FaultKind: FaultKind{"clock", "The sandbox's clock is ahead by so many seconds, or behind by as many below 0: in Date, and in what timestamps it takes."}, seconds: true},
	{FaultKind: FaultKind{"drip", "The right answer, byte by byte, in 30 seconds, or as many as are asked for."}, do: drip, seconds: true},
	{FaultKind: FaultKind{"hang", "No answer; after 60 seconds, or as many as are asked for, the connection breaks off."}, do: hang, seconds: true},
	{FaultKind: FaultKind{"reset", "The connection is reset, without an answer."}, do: reset},
	{FaultKind: FaultKind{"truncated", "The right answer breaks off in the middle."}, do: truncated},
	{FaultKind: FaultKind{"redirect", "302 to another host."}, do: elsewhere},
	{FaultKind: FaultKind{"garbage", "200 with bytes that mean nothing."}, do: instead("\x00\xff\xfe%zz&=&&\x1b[31m{\"oauth_token\":<")},
	{FaultKind: FaultKind{"html", "200 with a page in HTML."}, do: instead("<!DOCTYPE html><title>Sandbox</title><h1>Something else</h1>")},
	{FaultKind: FaultKind{"empty", "200 with nothing."}, do: instead("")},
	{FaultKind: FaultKind{"huge", "200 with 16 MiB."}, do: huge},
	{FaultKind: FaultKind{"gzip-bomb", "200 with 64 KiB that unpack to 64 MiB."}, do: gzipBomb},

	{FaultKind: FaultKind{"no-oauth-token", "The right answer without oauth_token."}, drop: "oauth_token", on: []string{"request_token", "access_token", "authenticate", "authorize"}},
	{FaultKind: FaultKind{"no-oauth-token-secret", "The right answer without oauth_token_secret."}, drop: "oauth_token_secret", on: []string{"request_token", "access_token"}},
	{FaultKind: FaultKind{"no-callback-confirmed", "The right answer without oauth_callback_confirmed."}, drop: "oauth_callback_confirmed", on: []string{"request_token"}},
	{FaultKind: FaultKind{"no-user-id", "The right answer without user_id."}, drop: "user_id", on: []string{"access_token"}},
	{FaultKind: FaultKind{"no-screen-name", "The right answer without screen_name."}, drop: "screen_name", on: []string{"access_token"}},
	{FaultKind: FaultKind{"no-verifier", "The browser is sent back without oauth_verifier."}, drop: "oauth_verifier", on: []string{"authenticate", "authorize"}},
	{FaultKind: FaultKind{"revoked", "The person takes the access away in this moment: 401, code 89, now and from then on."},
		on: []string{"verify_credentials", "users_me", "invalidate_token"}},
}

// refuseProblem is how X's v2 says no (RFC 9457, as "Partial errors" and "Response codes" show it); reason may be empty.
func refuseProblem(status int, title, why, detail, kind string) *refusal {
	if why != "" {
		why = fmt.Sprintf(`"reason":%q,`, why)
	}
	return &refusal{status: status, kind: "application/problem+json", body: fmt.Sprintf(`{"title":%q,"detail":%q,%s"type":"https://api.twitter.com/2/problems/%s","status":%d}`,
		title, detail, why, kind, status)}
}

// refuseHTML is what stands in front of X when X does not answer.
func refuseHTML(status int, title string) *refusal {
	page := fmt.Sprintf("<!DOCTYPE html><html><head><title>%d %s</title></head><body><h1>%[2]s</h1></body></html>", status, title)
	return &refusal{status: status, kind: "text/html; charset=utf-8", body: page}
}

// FaultKinds returns what can go wrong, in the order of a list for people.
func (s *Server) FaultKinds() []FaultKind {
	kinds := make([]FaultKind, len(faultKinds))
	for i, k := range faultKinds {
		kinds[i] = k.FaultKind
	}
	return kinds
}

func kindOf(name string) (faultKind, bool) {
	i := slices.IndexFunc(faultKinds, func(k faultKind) bool { return k.Name == name })
	if i < 0 {
		return faultKind{}, false
	}
	return faultKinds[i], true
}

// ParseFault reads a fault as it is written on a command line: kind[@endpoint][*times][:seconds], such as slow@access_token*1:5.
func ParseFault(text string) (Fault, error) {
	var f Fault
	var err error
	number := func(digits string, found bool) int {
		n, bad := strconv.Atoi(digits)
		if found && bad != nil {
			err = fmt.Errorf("fault %q is not kind[@endpoint][*times][:seconds], such as slow@access_token*1:5", text)
		}
		return n
	}
	rest, seconds, timed := strings.Cut(text, ":")
	f.Seconds = number(seconds, timed)
	rest, times, counted := strings.Cut(rest, "*")
	f.Times = number(times, counted)
	f.Kind, f.Endpoint, _ = strings.Cut(rest, "@")
	if err == nil {
		err = f.check()
	}
	return f, err
}

// check says what is wrong with a fault.
func (f Fault) check() error {
	k, known := kindOf(f.Kind)
	_, there := endpointOf(f.Endpoint)
	switch {
	case !known:
		names := make([]string, len(faultKinds))
		for i, k := range faultKinds {
			names[i] = k.Name
		}
		return fmt.Errorf("there is no fault %q; there are %s", f.Kind, strings.Join(names, ", "))
	case f.Endpoint != "" && !there:
		return fmt.Errorf("there is no endpoint %q; there are request_token, authenticate, authorize, access_token, verify_credentials, users_me, invalidate_token", f.Endpoint)
	case f.Endpoint != "" && k.on != nil && !slices.Contains(k.on, f.Endpoint):
		return fmt.Errorf("the fault %s has no meaning at %s, only at %s", f.Kind, f.Endpoint, strings.Join(k.on, ", "))
	case f.Times < 0 || f.Times > 1_000_000:
		return errors.New("a fault lasts 1 to 1000000 requests, or with 0 until it is cleared")
	case f.Seconds != 0 && !k.seconds:
		return fmt.Errorf("the fault %s takes no seconds", f.Kind)
	case f.Kind == "clock" && (f.Seconds == 0 || f.Seconds < -maxSkew || f.Seconds > maxSkew):
		return fmt.Errorf("the fault clock needs the seconds that it is ahead, or below 0 behind, at the most %d", maxSkew)
	case f.Kind != "clock" && (f.Seconds < 0 || f.Seconds > 3600):
		return fmt.Errorf("the fault %s takes 1 to 3600 seconds", f.Kind)
	}
	return nil
}

// maxSkew is a year.
const maxSkew = 365 * 24 * 60 * 60

// AddFault has something go wrong from the next request on, besides what does already. Of several faults that fit a request the oldest befalls it, and every
// slow and clock as well.
func (s *Server) AddFault(f Fault) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addFault(f)
}

func (s *Server) addFault(f Fault) error {
	if err := f.check(); err != nil {
		return err
	}
	if len(s.faults) >= maxFaults {
		return fmt.Errorf("there are %d faults already, and no room for more", maxFaults)
	}
	s.faults = append(s.faults, f)
	return nil
}

// ClearFaults has everything go right again.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// Faults returns those that are still to come, the oldest first.
func (s *Server) Faults() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.faults)
}

// fire takes what befalls a request at this endpoint, and counts it.
func (s *Server) fire(endpoint string) (befalls []Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if len(s.faults) == 0 {
		return nil
	}
	answered, kept := false, []Fault(nil)
	for _, f := range s.faults {
		k, _ := kindOf(f.Kind)
		if f.fits(k, endpoint) && (k.goesOn() || !answered) {
			answered = answered || !k.goesOn()
			befalls = append(befalls, f)
			if f.Times == 1 {
				continue
			}
			f.Times = max(0, f.Times-1)
		}
		kept = append(kept, f)
	}
	s.faults = kept
	return befalls
}

func (f Fault) fits(k faultKind, endpoint string) bool {
	switch {
	case f.Endpoint != "":
		return f.Endpoint == endpoint
	case k.on != nil:
		return slices.Contains(k.on, endpoint)
	}
	e, _ := endpointOf(endpoint)
	return e.signed
}

// has tells whether a fault of that kind befalls the request.
func (t *trace) has(kind string) bool {
	return slices.ContainsFunc(t.faults, func(f Fault) bool { return f.Kind == kind })
}

// skew is how far the clock is off for this request.
func (t *trace) skew() (d time.Duration) {
	for _, f := range t.faults {
		if f.Kind == "clock" {
			d += time.Duration(f.Seconds) * time.Second
		}
	}
	return d
}

// serveWithFaults answers r by next, as far as the faults that befall it allow.
func (s *Server) serveWithFaults(w http.ResponseWriter, r *http.Request, t *trace, next func(http.ResponseWriter)) {
	if len(t.faults) == 0 {
		next(w)
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // some take longer than a server allows; not all servers have deadlines
	answer := next
	var kinds, verdicts []string
	for _, f := range t.faults {
		k, _ := kindOf(f.Kind)
		kinds, verdicts = append(kinds, k.Name), append(verdicts, "By the fault "+k.Name+": "+k.Says)
		switch {
		case f.Kind == "slow":
			// First what was sent: later the server's own patience with it is over.
			if body, err := io.ReadAll(r.Body); err == nil {
				r.Body = io.NopCloser(bytes.NewReader(body))
			}
			if !pause(r, f.lasts(10*time.Second)) {
				t.Fault, t.Verdict = k.Name, k.Says+" The client did not wait for it."
				panic(http.ErrAbortHandler)
			}
		case k.refusal != nil:
			answer = func(w http.ResponseWriter) {
				s.read(t, r)
				if k.Name == "rate-limit" {
					rateHeaders(w, 0, s.opts.Now().Add(rateWindow))
				}
				t.Code = answerRefusal(w, r, k.refusal)
			}
		case k.drop != "":
			answer = func(w http.ResponseWriter) { without(k.drop, w, next) }
		case k.do != nil:
			answer = func(w http.ResponseWriter) {
				s.read(t, r)
				k.do(f, w, r, next)
			}
		}
	}
	t.Fault = strings.Join(kinds, " ")
	defer func() { t.Verdict = strings.TrimSpace(t.Verdict + " " + strings.Join(verdicts, " ")) }()
	answer(w)
}

// read notes what came, for a fault that answers without looking.
func (s *Server) read(t *trace, r *http.Request) {
	e, _ := endpointOf(t.Endpoint)
	if from, err := sources(r); err == nil && e.signed {
		s.note(t, r, from)
	}
}

// lasts is how long a fault lasts.
func (f Fault) lasts(usual time.Duration) time.Duration {
	if f.Seconds == 0 {
		return usual
	}
	return time.Duration(f.Seconds) * time.Second
}

// pause waits, and tells whether the client did as well.
func pause(r *http.Request, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-r.Context().Done():
		return false
	}
}

// held is an answer that is not sent yet. Its headers are the real one's.
type held struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

// WriteHeader keeps the status.
func (h *held) WriteHeader(status int) { h.status = status }

// Write keeps the body.
func (h *held) Write(b []byte) (int, error) { return h.body.Write(b) }

func hold(w http.ResponseWriter, next func(http.ResponseWriter)) *held {
	h := &held{ResponseWriter: w, status: http.StatusOK}
	next(h)
	return h
}

// without answers as ever, but for one parameter in a form or in where the browser is sent.
func without(name string, w http.ResponseWriter, next func(http.ResponseWriter)) {
	h := hold(w, next)
	if location := w.Header().Get("Location"); location != "" {
		if u, err := url.Parse(location); err == nil {
			u.RawQuery = dropFrom(u.RawQuery, name)
			w.Header().Set("Location", u.String())
		}
	}
	body := h.body.String()
	if h.status == http.StatusOK && strings.HasPrefix(body, "oauth_token=") {
		body = dropFrom(body, name)
	}
	w.WriteHeader(h.status)
	_, _ = io.WriteString(w, body)
}

func dropFrom(form, name string) string {
	pairs := slices.DeleteFunc(strings.Split(form, "&"), func(pair string) bool { return strings.HasPrefix(pair, name+"=") })
	return strings.Join(pairs, "&")
}

func drip(f Fault, w http.ResponseWriter, r *http.Request, next func(http.ResponseWriter)) {
	h := hold(w, next)
	w.Header().Set("Content-Length", strconv.Itoa(h.body.Len()))
	w.WriteHeader(h.status)
	for _, b := range h.body.Bytes() {
		if _, err := w.Write([]byte{b}); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		if !pause(r, f.lasts(30*time.Second)/time.Duration(h.body.Len())) {
			return
		}
	}
}

func hang(f Fault, _ http.ResponseWriter, r *http.Request, _ func(http.ResponseWriter)) {
	pause(r, f.lasts(60*time.Second))
	panic(http.ErrAbortHandler)
}

func reset(_ Fault, w http.ResponseWriter, _ *http.Request, _ func(http.ResponseWriter)) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // as near as it gets without a connection of one's own
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // so that closing resets
	}
	conn.Close()
}

func truncated(_ Fault, w http.ResponseWriter, _ *http.Request, next func(http.ResponseWriter)) {
	h := hold(w, next)
	w.Header().Set("Content-Length", strconv.Itoa(h.body.Len()+1)) // never to be reached, even with an empty body
	w.WriteHeader(h.status)
	_, _ = w.Write(h.body.Bytes()[:h.body.Len()/2])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func elsewhere(_ Fault, w http.ResponseWriter, _ *http.Request, _ func(http.ResponseWriter)) {
	redirect(w, http.StatusFound, "https://elsewhere.invalid/") // RFC 6761 §6.4: nobody is there
}

// instead answers 200 with this body.
func instead(body string) func(Fault, http.ResponseWriter, *http.Request, func(http.ResponseWriter)) {
	return func(_ Fault, w http.ResponseWriter, _ *http.Request, _ func(http.ResponseWriter)) {
		answer(w, http.StatusOK, kindHTML, body)
	}
}

func huge(_ Fault, w http.ResponseWriter, _ *http.Request, _ func(http.ResponseWriter)) {
	w.Header().Set("Content-Type", kindHTML)
	chunk := bytes.Repeat([]byte("a"), 64<<10)
	for range 256 {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

// bomb is made when somebody asks for it: it takes a moment.
var bomb = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	nothing := make([]byte, 1<<20)
	for range 64 {
		_, _ = z.Write(nothing)
	}
	_ = z.Close()
	return b.Bytes()
})

func gzipBomb(_ Fault, w http.ResponseWriter, _ *http.Request, _ func(http.ResponseWriter)) {
	w.Header().Set("Content-Type", kindHTML)
	w.Header().Set("Content-Encoding", "gzip")
	_, _ = w.Write(bomb())
}
