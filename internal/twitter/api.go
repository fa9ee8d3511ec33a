package twitter

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/dghubble/oauth1"
)

// Client returns an HTTP client whose calls are signed on behalf of the person
// that the token belongs to (RFC 5849 §3.1):
//
//	answer, err := provider.Client(ctx, token).Get("https://api.x.com/2/users/me")
//
// A call goes to the provider's own host only, over its scheme. It ends after
// Options.Timeout or with ctx, follows no redirect, and its answer has at most
// 64 KiB. Every status outside 200 to 299 is an *Error, to be found with
// errors.As; its Reason says what to do: Expired, the person has revoked the
// token and must sign in again; RateLimited, not before RetryAt; NoCredits and
// NotPlanned, not with this application's plan; Unreachable and Unavailable,
// later.
func (p *Provider) Client(ctx context.Context, t Token) *http.Client {
	config := p.oauth
	guarded := &http.Client{Transport: &guard{Provider: p, visitor: ctx}}
	return config.Client(context.WithValue(ctx, oauth1.HTTPClient, guarded), oauth1.NewToken(t.Token, t.Secret))
}

// Profile is how the provider shows a person.
type Profile struct {
	ScreenName string
	Name       string // up to 50 characters of any script, none of them a control character
	AvatarURL  string // for Provider.Avatar; empty when there is none
}

// profileCalls are the two ways to ask who somebody is, the one that works on
// today's plans first.
var profileCalls = []string{
	"/2/users/me?user.fields=profile_image_url",
	"/1.1/account/verify_credentials.json?include_entities=false&skip_status=true",
}

// Profile asks the provider how it shows the person with the user id, in the
// first way that works. A way that the application's plan lacks is left alone
// for a day, one with too many calls until it takes some again. The error is
// an *Error: of the way that may be tried again first.
func (p *Provider) Profile(ctx context.Context, t Token, id string) (Profile, error) {
	var soonest rest
	for _, call := range profileCalls {
		left, resting := p.resting.at(call, p.Now())
		if !resting {
			profile, e := p.profile(ctx, t, id, call)
			if e == nil {
				return profile, nil
			}
			if e.Reason == Expired || e.Reason == Locked { // about the person, not about the way
				return Profile{}, e
			}
			left = p.resting.leave(call, e, p.Now())
		}
		if soonest.why == nil || left.until.Before(soonest.until) {
			soonest = left
		}
	}
	return Profile{}, soonest.why
}

func (p *Provider) profile(ctx context.Context, t Token, id, call string) (Profile, *Error) {
	path, _, _ := strings.Cut(call, "?")
	answer, err := p.Client(ctx, t).Get(p.APIURL.String() + call)
	if err != nil {
		return Profile{}, typedError(path, err)
	}
	defer answer.Body.Close()

	var body struct {
		Data struct {
			ID       string `json:"id"`
			Name     string `json:"name"`
			Username string `json:"username"`
			Image    string `json:"profile_image_url"`
		} `json:"data"`
		ID         string `json:"id_str"`
		Name       string `json:"name"`
		ScreenName string `json:"screen_name"`
		Image      string `json:"profile_image_url_https"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		return Profile{}, &Error{Call: path, Status: answer.StatusCode, Reason: Garbled}
	}
	profile := Profile{body.Data.Username, tidy(body.Data.Name), body.Data.Image}
	if strings.HasPrefix(call, "/1.1/") {
		body.Data.ID = body.ID
		profile = Profile{body.ScreenName, tidy(body.Name), body.Image}
	}
	if body.Data.ID != id || !screenName.MatchString(profile.ScreenName) {
		return Profile{}, &Error{Call: path, Status: answer.StatusCode, Reason: Garbled}
	}
	return profile, nil
}

// maxName is how many characters of a name are kept; X allows 50.
const maxName = 50

// tidy makes a name fit to be shown: on one line, and not without end.
func tidy(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, ""))
	letters := []rune(strings.TrimSpace(name))
	return string(letters[:min(len(letters), maxName)])
}

// typedError finds the *Error in what an http.Client says, which quotes the
// whole address.
func typedError(call string, err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Call: call, Reason: Unreachable, cause: err}
}

// resting are the calls that are left alone for a while.
type resting struct {
	mu    sync.Mutex
	calls map[string]rest
}

type rest struct {
	until time.Time
	why   *Error
}

// at tells whether a call is left alone now.
func (r *resting) at(call string, now time.Time) (rest, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	left, ok := r.calls[call]
	return left, ok && now.Before(left.until)
}

// leave leaves a call alone after an error, as long as it makes sense.
func (r *resting) leave(call string, e *Error, now time.Time) rest {
	until := now
	switch e.Reason {
	case NoCredits, NotPlanned, Refused, Keys:
		until = now.Add(24 * time.Hour)
	case RateLimited:
		until = e.RetryAt
		if until.IsZero() {
			until = now.Add(15 * time.Minute) // X's window
		}
	case Unreachable, Unavailable:
		if !errors.Is(e, context.Canceled) { // that was the visitor's doing
			until = now.Add(time.Minute)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls == nil {
		r.calls = map[string]rest{}
	}
	left := rest{until, e}
	r.calls[call] = left
	return left
}

// Revoke ends the token at the provider, and with it every sign-in of the
// person with this application. It is fine when the token is not good any
// more; otherwise the error is an *Error.
func (p *Provider) Revoke(ctx context.Context, t Token) error {
	const call = "/1.1/oauth/invalidate_token.json"
	answer, err := p.Client(ctx, t).Post(p.APIURL.String()+call, "application/x-www-form-urlencoded", nil)
	if err != nil {
		if e := typedError(call, err); e.Reason != Expired {
			return e
		}
		return nil
	}
	return answer.Body.Close()
}

// Avatar is a picture that the provider shows of a person.
type Avatar struct {
	Hash    string // of the content, 32 hexadecimal digits
	Type    string // image/png, image/jpeg, image/gif or image/webp, by its content
	Content []byte
}

const maxAvatar = 256 << 10 // bytes

// avatarHosts are where X keeps pictures.
var avatarHosts = []string{"pbs.twimg.com", "abs.twimg.com"}

// Avatar fetches a picture from where the provider keeps them: X's hosts for
// pictures, or the provider's own host when that is on loopback. Anything
// else, a redirect, more than 256 KiB or a content that is no picture is an
// *Error. The call is not signed.
func (p *Provider) Avatar(ctx context.Context, address string) (avatar Avatar, err error) {
	const call = "avatar"
	u, err := url.Parse(address)
	if err != nil || !p.keepsPictures(u) {
		return Avatar{}, &Error{Call: call, Reason: Garbled}
	}
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return Avatar{}, &Error{Call: call, Reason: Garbled}
	}
	leave, err := p.place(ctx)
	if err != nil {
		return Avatar{}, &Error{Call: call, Reason: Unreachable, cause: err}
	}
	defer leave()
	var answer *http.Response
	defer func(began time.Time) { p.over(call, began, answer, err) }(p.Now())
	answer, err = p.transport.RoundTrip(r) // a transport follows no redirect
	if err != nil {
		return Avatar{}, &Error{Call: call, Reason: Unreachable, cause: err}
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(io.LimitReader(answer.Body, maxAvatar+1))
	if err != nil {
		return Avatar{}, &Error{Call: call, Reason: Unreachable, cause: err}
	}
	kind := http.DetectContentType(content)
	pictures := []string{"image/png", "image/jpeg", "image/gif", "image/webp"}
	if answer.StatusCode != http.StatusOK || len(content) > maxAvatar || !slices.Contains(pictures, kind) {
		return Avatar{}, &Error{Call: call, Status: answer.StatusCode, Reason: Garbled}
	}
	hash := sha256.Sum256(content)
	return Avatar{hex.EncodeToString(hash[:16]), kind, content}, nil
}

func (p *Provider) keepsPictures(u *url.URL) bool {
	if u.User != nil {
		return false
	}
	if p.APIURL.Scheme == "http" { // allowed on loopback only: the sandbox
		return u.Scheme == "http" && u.Host == p.APIURL.Host
	}
	return u.Scheme == "https" && slices.Contains(avatarHosts, u.Host)
}
