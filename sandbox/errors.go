package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/a-h/templ"
)

// refusal is an answer that says no, in one of the shapes X says it in. Its text as an error is for the log, so it holds nothing that was sent.
type refusal struct {
	status int
	kind   string // Content-Type
	body   string
	allow  string // the Allow header of a 405
	reason string
}

// Error returns the reason: what a developer who reads the log needs to know, which X keeps to itself.
func (e *refusal) Error() string { return e.reason }

const (
	kindJSON = "application/json;charset=utf-8"
	kindXML  = "application/xml;charset=utf-8"
	// kindHTML is what X calls even its form-encoded and its plain answers.
	kindHTML  = "text/html;charset=utf-8"
	kindPlain = "text/plain;charset=utf-8"
)

// refuseJSON is the first of X's four shapes, and the one X documents ("Response codes & errors"): {"errors":[{"code","message"}]}.
func refuseJSON(status, code int, message, reason string) *refusal {
	return &refusal{status: status, kind: kindJSON, body: fmt.Sprintf(`{"errors":[{"code":%d,"message":%q}]}`, code, message), reason: reason}
}

// refusePage is for people.
func refusePage(status int, page templ.Component, reason string) *refusal {
	var b strings.Builder
	_ = page.Render(context.Background(), &b) // a Builder takes everything
	return &refusal{status: status, kind: kindHTML, body: b.String(), reason: reason}
}

// What goes wrong with the signing of a call: codes 32, 89, 135 and 215 of X's documentation.
func errBadData(reason string) error {
	return refuseJSON(http.StatusBadRequest, 215, "Bad Authentication data.", reason)
}

func errUnauthorized(reason string) error {
	return refuseJSON(http.StatusUnauthorized, 32, "Could not authenticate you.", reason)
}

func errClock(reason string) error {
	return refuseJSON(http.StatusUnauthorized, 135, "Timestamp out of bounds.", reason)
}

func errToken(reason string) error {
	return refuseJSON(http.StatusUnauthorized, 89, "Invalid or expired token.", reason)
}

// errMethod is X's code 86.
func errMethod(allowed []string) error {
	e := refuseJSON(http.StatusMethodNotAllowed, 86, "This method requires a "+strings.Join(allowed, " or ")+".", "method not allowed")
	e.allow = strings.Join(allowed, ", ")
	return e
}

var (
	errPage  = refuseJSON(http.StatusNotFound, 34, "Sorry, that page does not exist.", "no such path")
	errLarge = refuseJSON(http.StatusRequestEntityTooLarge, 215, "The body is larger than 64 KiB.", "body larger than 64 KiB")

	// The second shape: XML with a code. X documents it for this one.
	errCallback = &refusal{status: http.StatusForbidden, kind: kindXML, reason: "oauth_callback is not a registered one",
		body: `<?xml version="1.0" encoding="UTF-8"?><errors><error code="415">Callback URL not approved for this client application. ` +
			`Approved callback URLs can be adjusted in your application settings</error></errors>`}

	// The third: old XML without a code, of which people's bug reports tell.
	errNotRequestToken = &refusal{status: http.StatusUnauthorized, kind: kindXML, reason: "an access token where a request token belongs",
		body: `<?xml version="1.0" encoding="UTF-8"?><hash><error>The access_token method must be called with a request_token</error>` +
			`<request>/oauth/access_token</request></hash>`}

	// The fourth: bare text, called HTML. From bug reports too.
	errNoRequestToken = &refusal{status: http.StatusUnauthorized, kind: kindHTML, reason: "no oauth_token", body: "Request token missing"}
	errVerifier       = &refusal{status: http.StatusUnauthorized, kind: kindHTML, reason: "not approved, or another oauth_verifier",
		body: "Error processing your OAuth request: Invalid oauth_verifier parameter"}

	// Not X's: the lock on the Host header.
	errHost = &refusal{status: http.StatusMisdirectedRequest, kind: kindPlain, reason: "the Host is not a loopback name",
		body: "This is a sandbox for the computer it runs on. It answers to localhost, 127.0.0.1 and [::1] only.\n"}

	// X's code 131.
	errInternal = refuseJSON(http.StatusInternalServerError, 131, "Internal error.", "internal error")
)

// refuseWith is a handler that refuses everything.
func refuseWith(err error) handler {
	return func(http.ResponseWriter, *http.Request) (string, error) { return "", err }
}

// answerRefusal tells the client what err has to say to it.
func answerRefusal(w http.ResponseWriter, r *http.Request, err error) {
	e := errInternal
	errors.As(err, &e)
	if e.allow != "" {
		w.Header().Set("Allow", e.allow)
	}
	if e.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `OAuth realm="http://`+r.Host+`"`) // RFC 9110 §11.6.1; r.Host is one of the loopback names
	}
	answer(w, e.status, e.kind, e.body)
}

// answer writes a whole answer. A client that left does not read it, which is no fault of ours.
func answer(w http.ResponseWriter, status int, kind, body string) {
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body))
}
