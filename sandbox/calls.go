package sandbox

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Call is a request that was answered, for the inspector. Secrets are masked in all of it, and what is very long is cut.
type Call struct {
	ID       int64         `json:"id"` // counts up, from 1
	At       time.Time     `json:"at"` // by the sandbox's clock
	Took     time.Duration `json:"-"`
	Method   string        `json:"method"`
	URL      string        `json:"url"`             // path and query, masked
	Endpoint string        `json:"endpoint"`        // request_token, authenticate, … as in Fault; empty when there is none at this path
	Params   []Param       `json:"params"`          // decoded
	Expected string        `json:"expected"`        // the signature base string that the sandbox made (RFC 5849 §3.4.1), masked; empty for calls that are not signed
	Received string        `json:"received"`        // the one the client must have made, when it can be found out; else empty
	Status   int           `json:"status"`          // 0 when the connection was broken off
	Code     int           `json:"code"`            // Twitter's; 0 without one
	OK       bool          `json:"ok"`              // answered with success, and no fault had a hand in it
	Verdict  string        `json:"verdict"`         // a sentence
	Fault    string        `json:"fault,omitempty"` // the kinds of the faults that befell it
}

// Param is one parameter of a Call.
type Param struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	In    string `json:"in"` // header, body or query
}

// What is kept of calls at the most; bytes where it is text.
const (
	maxCalls      = 200
	maxCallParams = 64
	maxCallText   = 1 << 10 // of a name, a value, a URL
	maxCallBase   = 8 << 10 // of a base string
)

// Calls returns the last 200 calls, the newest last.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Watch returns a channel that gets each new call, and is closed when ctx is done. Who reads slowly loses calls, and holds nobody up.
func (s *Server) Watch(ctx context.Context) <-chan Call {
	calls := make(chan Call, 16)
	s.mu.Lock()
	s.watchers[calls] = struct{}{}
	s.mu.Unlock()
	context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers, calls)
		close(calls)
	})
	return calls
}

// publish keeps a call, and tells whoever watches.
func (s *Server) publish(c Call) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.lastCall++
	c.ID = s.lastCall
	if len(s.calls) == maxCalls {
		s.calls = slices.Delete(s.calls, 0, 1)
	}
	s.calls = append(s.calls, c)
	for watcher := range s.watchers {
		select {
		case watcher <- c:
		default:
		}
	}
}

// trace is what is noted about a request while it is answered.
type trace struct {
	Call
	faults []Fault // that befall it
}

type traceKey struct{}

// traceOf returns what is noted about r; where nobody notes, something to write on.
func traceOf(r *http.Request) *trace {
	if t, ok := r.Context().Value(traceKey{}).(*trace); ok {
		return t
	}
	return &trace{}
}

// places are where parameters come from, in the order of sources.
var places = [...]string{"header", "query", "body"}

// note writes down the parameters and the base string made of them.
func (s *Server) note(t *trace, r *http.Request, from [][]param) {
	masked := s.maskAll(from)
	t.Params = nil // it may have been noted before
	for i, params := range masked {
		for _, p := range params {
			if len(t.Params) < maxCallParams {
				t.Params = append(t.Params, Param{cut(p.name, maxCallText), cut(p.value, maxCallText), places[i]})
			}
		}
	}
	if slices.ContainsFunc(slices.Concat(from...), func(p param) bool { return p.name == "oauth_signature" }) {
		t.Expected = cut(baseString(scheme(r), r, slices.Concat(masked...)), maxCallBase)
	}
}

// complete adds to a call what is known of any request: its URL, and where nothing was signed, its parameters.
func (s *Server) complete(t *trace, r *http.Request) {
	t.URL = cut(r.URL.EscapedPath(), maxCallText)
	if r.URL.RawQuery != "" {
		t.URL += "?" + s.maskQuery(r.URL.RawQuery)
	}
	if t.Params != nil {
		return
	}
	form, _ := parseForm(r.PostForm.Encode()) // empty unless a handler read one
	queried, _ := parseForm(r.URL.RawQuery)
	header, _ := parseHeader(strings.Join(r.Header.Values("Authorization"), ", "))
	s.note(t, r, [][]param{header, queried, form})
}

// maskQuery is a query as it was sent, but for its secrets.
func (s *Server) maskQuery(query string) string {
	var pairs []string
	for pair := range strings.SplitSeq(query, "&") {
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(rawName)
		value, valueErr := url.QueryUnescape(rawValue)
		if m := s.mask(param{name, value}); m.value != value {
			pair = rawName + "=" + m.value
		}
		if err != nil || valueErr != nil { // and so nobody knows what it holds
			pair = rawName + "=…"
		}
		pairs = append(pairs, pair)
	}
	return cut(strings.Join(pairs, "&"), maxCallText)
}

func (s *Server) maskAll(from [][]param) [][]param {
	masked := make([][]param, len(from))
	for i, params := range from {
		masked[i] = make([]param, len(params))
		for j, p := range params {
			masked[i][j] = s.mask(p)
		}
	}
	return masked
}

// mask hides a value that opens something. A consumer key that is not ours may be a real one, or a secret in the wrong place.
func (s *Server) mask(p param) param {
	secret := false
	switch p.name {
	case "oauth_token", "oauth_verifier", "oauth_signature", "csrf", "denied":
		secret = true
	case "oauth_consumer_key":
		secret = p.value != s.opts.ConsumerKey
	default:
		name := strings.ToLower(p.name)
		secret = strings.Contains(name, "secret") || strings.Contains(name, "password")
	}
	if secret || strings.Contains(p.value, s.opts.ConsumerSecret) {
		p.value = hide(p.value)
	}
	return p
}

// hide leaves so much of a secret that two can be told apart. The dots need no encoding anywhere, so that a masked base string is one still.
func hide(secret string) string {
	if secret == "" {
		return ""
	}
	if len(secret) < 20 {
		return "..."
	}
	return strings.ToValidUTF8(secret[:4], "") + "..."
}

// cut shortens s to n bytes, and an ellipsis that says so.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// watchedWriter remembers the status that was answered.
type watchedWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader remembers the first status.
func (w *watchedWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write answers 200 when nothing was said before.
func (w *watchedWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController find the connection.
func (w *watchedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
