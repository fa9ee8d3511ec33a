package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/a-h/templ"
)

// refusal is an answer that says no, in one of the shapes X says it in. Its text as an error is a sentence for log and inspector, so it holds no token,
// secret, verifier or signature.
type refusal struct {
	status int
	code   int    // Twitter's; 0 when the body has none
	kind   string // Content-Type
	body   string
	allow  string // the Allow header of a 405
	reason string
}

// Error returns the reason: what a developer who reads the log needs to know, which X keeps to itself.
func (e *refusal) Error() string { return e.reason }

// because is the same answer for another reason.
func (e *refusal) because(reason string) *refusal {
	other := *e
	other.reason = reason
	return &other
}

const (
	kindJSON = "application/json;charset=utf-8"
	kindXML  = "application/xml;charset=utf-8"
	// kindHTML is what X calls even its form-encoded and its plain answers.
	kindHTML  = "text/html;charset=utf-8"
	kindPlain = "text/plain;charset=utf-8"
)

// refuseJSON is the first of X's four shapes, and the one X documents ("Response codes & errors"): {"errors":[{"code","message"}]}.
func refuseJSON(status, code int, message, reason string) *refusal {
	return &refusal{status: status, code: code, kind: kindJSON, body: fmt.Sprintf(`{"errors":[{"code":%d,"message":%q}]}`, code, message), reason: reason}
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
func errMethod(allowed []string) *refusal {
	methods := strings.Join(allowed, " or ")
	e := refuseJSON(http.StatusMethodNotAllowed, 86, "This method requires a "+methods+".", "This path takes "+methods+" only.")
	e.allow = strings.Join(allowed, ", ")
	return e
}

var (
	errPage  = refuseJSON(http.StatusNotFound, 34, "Sorry, that page does not exist.", "Nothing is at this path.")
	errLarge = refuseJSON(http.StatusRequestEntityTooLarge, 215, "The body is larger than 64 KiB.", "The body is larger than 64 KiB.")

	// The second shape: XML with a code. X documents it for this one.
	errCallback = &refusal{status: http.StatusForbidden, code: 415, kind: kindXML, reason: "oauth_callback is not a registered one.",
		body: `<?xml version="1.0" encoding="UTF-8"?><errors><error code="415">Callback URL not approved for this client application. ` +
			`Approved callback URLs can be adjusted in your application settings</error></errors>`}

	// The third: old XML without a code, of which people's bug reports tell.
	errNotRequestToken = refuseHash("The access_token method must be called with a request_token", "/oauth/access_token",
		"oauth_token is an access token; a request token belongs here.")

	// The fourth: bare text, called HTML. From bug reports too.
	errNoRequestToken = refuseText("Request token missing", "oauth_token is missing: the request token belongs there.")
	errVerifier       = refuseText("Error processing your OAuth request: Invalid oauth_verifier parameter", "oauth_verifier is not the one that the callback brought.")

	// An application that has registered nothing but "oob" is a desktop one.
	errDesktop = refuseJSON(http.StatusUnauthorized, 417, "Desktop applications only support the oauth_callback value 'oob'",
		"Only oob is registered as callback, so oauth_callback must be oob.")

	// People whom X does not let on.
	errLocked = refuseJSON(http.StatusForbidden, 326, "To protect our users from spam and other malicious activity, this account is temporarily locked. "+
		"Please log in to https://twitter.com to unlock your account.", "The account is locked.")
	errSuspended = refuseJSON(http.StatusForbidden, 64, "Your account is suspended and is not permitted to access this feature.", "The account is suspended.")

	errRate = refuseJSON(http.StatusTooManyRequests, 88, "Rate limit exceeded", "More calls with this token than X takes in 15 minutes.")

	// Not X's: the lock on the Host header.
	errHost = &refusal{status: http.StatusMisdirectedRequest, kind: kindPlain, reason: "The Host is not a loopback name.",
		body: "This is a sandbox for the computer it runs on. It answers to localhost, 127.0.0.1 and [::1] only.\n"}

	// X's code 131.
	errInternal = refuseJSON(http.StatusInternalServerError, 131, "Internal error.", "The sandbox itself failed.")
)

// refuseHash is X's third shape.
func refuseHash(message, path, reason string) *refusal {
	return &refusal{status: http.StatusUnauthorized, kind: kindXML, reason: reason,
		body: `<?xml version="1.0" encoding="UTF-8"?><hash><error>` + message + `</error><request>` + path + `</request></hash>`}
}

// refuseText is X's fourth shape.
func refuseText(message, reason string) *refusal {
	return &refusal{status: http.StatusUnauthorized, kind: kindHTML, body: message, reason: reason}
}

// refuseWith is a handler that refuses everything.
func refuseWith(err error) handler {
	return func(http.ResponseWriter, *http.Request) (string, error) { return "", err }
}

// unquotable is what must not stand in a quoted string of a header (RFC 9110 §5.6.4).
var unquotable = regexp.MustCompile(`[^A-Za-z0-9.:\[\]-]`)

// answerRefusal tells the client what err has to say to it, and returns Twitter's code for it; 0 when it has none.
func answerRefusal(w http.ResponseWriter, r *http.Request, err error) (code int) {
	e := errInternal
	errors.As(err, &e)
	if e.allow != "" {
		w.Header().Set("Allow", e.allow)
	}
	if e.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `OAuth realm="`+scheme(r)+"://"+unquotable.ReplaceAllString(r.Host, "")+`"`) // RFC 9110 §11.6.1
	}
	answer(w, e.status, e.kind, e.body)
	return e.code
}

// answer writes a whole answer. A client that left does not read it, which is no fault of ours.
func answer(w http.ResponseWriter, status int, kind, body string) {
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body))
}
