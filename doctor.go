package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"perch/internal/config"
	"perch/internal/session"
	"perch/internal/store"
	"perch/internal/twitter"
)

// A finding is what one check comes to, in a sentence for the operator that
// ends with what to do. It may name hosts, statuses and settings; never the
// value of a secret, the database's URL, or words that somebody answered with.
type finding struct {
	verdict verdict
	text    string
}

type verdict int

const (
	fine verdict = iota
	note         // nothing is wrong yet
	bad
)

func (v verdict) String() string { return [...]string{"ok", "note", "bad"}[v] }

// doctor is `perch doctor`: it checks the set-up and prints what it finds, a
// line each. It changes nothing. The error says that something is bad.
func doctor(ctx context.Context, c config.Config) error {
	if bad := examine(ctx, os.Stdout, c); bad > 0 {
		return fmt.Errorf("findings that are bad: %d", bad)
	}
	return nil
}

// examine prints what it finds, and returns how much of it is bad.
func examine(ctx context.Context, w io.Writer, c config.Config) (wrong int) {
	say := func(findings ...finding) {
		for _, f := range findings {
			fmt.Fprintf(w, "%-4s %s\n", f.verdict, f.text)
			if f.verdict == bad {
				wrong++
			}
		}
	}
	if c.Sandbox {
		say(finding{fine, "No keys are set, so the sandbox stands in for X, and X was not called. For real sign-ins set TWITTER_CONSUMER_KEY and TWITTER_CONSUMER_SECRET."})
	} else {
		say(checkTwitter(ctx, twitter.New(twitterOptions(c)))...)
		if c.BaseURL.Hostname() == "localhost" {
			say(finding{note, "X wants 127.0.0.1 in a callback, not localhost: set BASE_URL to http://127.0.0.1 and the port, and register the callback with it."})
		}
	}
	say(checkSecretKey(c), checkDatabase(ctx, c.DatabaseURL), checkAddress(ctx, c.BaseURL))
	return wrong
}

// checkAtStart logs the worst that doctor would say of X. It is for the
// background: X may be down, and sessions that exist outlive that.
func checkAtStart(ctx context.Context, p *twitter.Provider, log *slog.Logger) {
	findings := checkTwitter(ctx, p)
	if ctx.Err() != nil {
		return // we are stopping, which is no fault of X
	}
	worst := slices.MaxFunc(findings, func(a, b finding) int { return cmp.Compare(a.verdict, b.verdict) })
	if worst.verdict == fine {
		log.Info("provider_checked", "finding", worst.text)
		return
	}
	log.Warn("provider_check", "problem", worst.text)
}

// checkTwitter asks X for a request token, as a sign-in does. First comes
// whether X gave one, then whether the clock goes wrong all the same.
func checkTwitter(ctx context.Context, p *twitter.Provider) []finding {
	skew, err := p.Check(ctx)
	found := []finding{{fine, "X takes the keys and the callback " + p.CallbackURL + "."}}
	var e *twitter.Error
	if errors.As(err, &e) {
		found = []finding{{bad, complaint(p, e)}}
		if e.Reason == twitter.Clock {
			return found
		}
	}
	if skew.Abs() > time.Minute {
		found = append(found, finding{note, off(skew) + ". X refuses sign-ins when it is five minutes: have the clock set by a time server (NTP)."})
	}
	return found
}

// off says how far the clock is, and in which direction.
func off(skew time.Duration) string {
	direction := "ahead of"
	if skew < 0 {
		direction = "behind"
	}
	return fmt.Sprintf("This machine's clock is %d s %s X's", int(skew.Abs().Seconds()), direction)
}

// complaint says why X gave no request token, and what to do.
func complaint(p *twitter.Provider, e *twitter.Error) string {
	const portal = "in X's developer portal"
	switch e.Reason {
	case twitter.Keys:
		return "X does not take the keys: they are wrong, were regenerated since, or are the OAuth 2.0 Client ID and Client Secret. Set up \"User authentication\" " + portal +
			", and put the API Key and Secret from its \"Keys and tokens\" into TWITTER_CONSUMER_KEY and TWITTER_CONSUMER_SECRET."
	case twitter.Stripped:
		return "X sees no proper Authorization header: a proxy on the way out takes it away. Let it pass, or keep the proxy out of these calls (HTTPS_PROXY, NO_PROXY)."
	case twitter.Unlisted:
		if e.Code == 417 {
			return "The application has no callback at X. Choose \"Web App\" under \"User authentication settings\" " + portal + ", and register exactly " + p.CallbackURL
		}
		return "X does not know the callback. Register exactly " + p.CallbackURL + " under \"User authentication settings\" " + portal + ", or set BASE_URL to what is registered."
	case twitter.Clock:
		if e.Skew == 0 {
			return "X finds this machine's clock too far off. Have it set by a time server (NTP)."
		}
		return off(e.Skew) + ", and X refuses the call for it. Have the clock set by a time server (NTP)."
	case twitter.Suspended:
		return "X has suspended the application. The mails of X to its owner, and its page " + portal + ", say why."
	case twitter.RateLimited:
		if e.RetryAt.IsZero() {
			return "X takes no more calls with these keys for now. Try again in 15 minutes."
		}
		return fmt.Sprintf("X takes no more calls with these keys until %s UTC. Try again then.", e.RetryAt.UTC().Format("15:04"))
	case twitter.Unavailable:
		return fmt.Sprintf("X is out of order (status %d), so the keys could not be checked. Try again in a few minutes.", e.Status)
	case twitter.NoCredits, twitter.NotPlanned:
		return fmt.Sprintf("X's plan for the application does not cover the call (status %d). Look at its plan and credits %s.", e.Status, portal)
	case twitter.Garbled:
		return "What answers at " + p.APIURL.String() + " makes no sense as X: a request token with its secret and oauth_callback_confirmed=true is due. See that TWITTER_API_URL is right, and that no proxy answers instead."
	case twitter.Unreachable:
		return silence(p, twitter.ObstacleOf(e))
	}
	switch {
	case e.Status == http.StatusForbidden:
		return fmt.Sprintf("X forbids the application to call (status 403, code %d). See %s that it belongs to a Project, and what its plan allows.", e.Code, portal)
	case e.Code != 0:
		return fmt.Sprintf("X refuses the call (status %d, code %d). Look the code up under \"Response codes and errors\" in X's documentation.", e.Status, e.Code)
	}
	return fmt.Sprintf("What answers at %s does not answer as X does (status %d, code %d). See that TWITTER_API_URL is right, and that no proxy answers instead.", p.APIURL, e.Status, e.Code)
}

// silence says why there was no answer.
func silence(p *twitter.Provider, o twitter.Obstacle) string {
	host := p.APIURL.Host
	switch o {
	case twitter.HostNotFound:
		return "The host " + host + " is not found. See that TWITTER_API_URL is right, and that this machine can ask a name server."
	case twitter.ConnectionRefused:
		return host + " refuses the connection. See that TWITTER_API_URL is right, and that no firewall stands between."
	case twitter.BadCertificate:
		return "The certificate of " + host + " is not valid to this machine. See that its CA certificates are installed and its clock is right, and that no proxy opens the TLS between."
	case twitter.NoTLS:
		return "There is no TLS connection with " + host + ": what answers there speaks none, or not ours. See that TWITTER_API_URL is right, and that no proxy stands between."
	case twitter.TimedOut:
		return fmt.Sprintf("%s does not answer within %s. See that no firewall stands between; else X is slow: try again in a few minutes.", host, p.Timeout)
	}
	return "The connection with " + host + " ends without a proper answer. Try again in a few minutes; if it stays so, see what stands between."
}

// checkSecretKey looks for a key, and makes none.
func checkSecretKey(c config.Config) finding {
	if len(c.SecretKeys) > 0 {
		return finding{fine, "SECRET_KEY is set."}
	}
	_, err := session.ReadKeyFile(c.KeyFile())
	var unreadable *fs.PathError
	switch {
	case err == nil:
		return finding{fine, "The key file secret.key is beside the database."}
	case errors.Is(err, fs.ErrNotExist):
		return finding{note, "The key file secret.key is not beside the database yet: the first start makes it."}
	case errors.As(err, &unreadable):
		return finding{bad, "The key file secret.key beside the database cannot be read. See that it is a file, and that it belongs to the user that Perch runs as."}
	}
	return finding{bad, "The key file secret.key beside the database is damaged. Put the right key there, or remove the file to get a new one: then everybody has to sign in again."}
}

// checkDatabase looks at the database, and leaves it as it is.
func checkDatabase(ctx context.Context, url string) finding {
	current, newest, err := store.Versions(ctx, url)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return finding{note, "The database is not there yet: the first start makes it."}
	case err != nil && store.IsSQLite(url):
		return finding{bad, "What DATABASE_URL names cannot be used as a database: " + err.Error() + ". See that the path is right, and that the file is SQLite's and belongs to the user that Perch runs as."}
	case err != nil:
		return finding{bad, "The database that DATABASE_URL names does not answer: " + err.Error() + ". See that the URL is right, and that PostgreSQL runs and lets this machine in."}
	case current == 0:
		return finding{note, "The database answers, and holds nothing of Perch's yet: the first start makes the tables."}
	case current > newest:
		return finding{bad, "The database is of a newer Perch. Install that one again, or restore the backup that was made before."}
	case current < newest:
		return finding{note, "The database answers. The next start brings its tables up to date: back it up before."}
	}
	return finding{fine, "The database answers."}
}

// checkAddress asks for the header as a visitor without cookies would, through
// whatever proxy stands in front.
func checkAddress(ctx context.Context, base *url.URL) finding {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, base.String()+"/header", nil)
	if err != nil {
		return finding{bad, "BASE_URL cannot be asked for: see that it is right."}
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(r)
	if err != nil {
		return unanswered(base, twitter.ObstacleOf(err))
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if err != nil {
		return unanswered(base, twitter.ObstacleOf(err))
	}
	elsewhere := origin(answer.Location())
	switch {
	case answer.StatusCode == http.StatusOK && bytes.Contains(body, []byte(`<header id="header"`)):
		return finding{fine, "Perch answers at BASE_URL, " + base.String() + "."}
	case answer.StatusCode == http.StatusMisdirectedRequest:
		return finding{bad, "Perch is asked for another host than that of BASE_URL, " + base.String() +
			": the proxy does not pass the Host header on as it came. For nginx, write `proxy_set_header Host $host;`."}
	case answer.StatusCode/100 == 3 && elsewhere != "" && elsewhere != base.String():
		return finding{bad, fmt.Sprintf("A proxy redirects BASE_URL, %s, to %s. If that is the address people see, set BASE_URL to it; else let the proxy pass every path on.", base, elsewhere)}
	}
	return finding{bad, fmt.Sprintf("Something answers at BASE_URL, %s, that is not Perch (status %d). Let the proxy there pass every path on to ADDR, and see that Perch is running.", base, answer.StatusCode)}
}

// origin is what of a redirect may be printed.
func origin(to *url.URL, err error) string {
	if err != nil {
		return ""
	}
	return (&url.URL{Scheme: to.Scheme, Host: to.Host}).String()
}

// unanswered says what it means that nobody was there.
func unanswered(base *url.URL, o twitter.Obstacle) finding {
	switch o {
	case twitter.BadCertificate:
		return finding{bad, "The certificate at BASE_URL, " + base.String() + ", is not valid to this machine. See that the proxy has one for that host, with the whole chain."}
	case twitter.NoTLS:
		return finding{bad, "There is no TLS at BASE_URL, " + base.String() + ". Let a proxy there terminate it, or see that BASE_URL is right."}
	}
	return finding{note, fmt.Sprintf("Nobody answers at BASE_URL, %s (%s): Perch, or the proxy, may not be running yet. Start it and run doctor again.", base, o)}
}
