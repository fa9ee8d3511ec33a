// Package config checks what the operator asks for, before anything starts.
//
// Settings are strings, as flags and the environment hold them; Config is what
// the program uses, with every default filled in and every value checked. A
// wrong setting is refused with one sentence that names its variable and says
// what would be right. The sentence never repeats the value, which may be a
// secret, or a secret in the wrong variable; only the path of a file. Empty is
// as good as not set, and white space around a value does not count.
package config

import (
	"os"
	"reflect"
	"strings"

	"github.com/spf13/pflag"
)

// Settings is what the operator says: one field a setting, which is a variable
// of the environment and a flag. All are strings, empty by default, so that
// Check words every refusal and --help has no value to show.
type Settings struct {
	Addr    string `env:"ADDR" placeholder:"HOST:PORT" help:"Where to listen; default 127.0.0.1:8080, or every address when PORT is set."`
	Port    string `env:"PORT" placeholder:"PORT" help:"Where to listen when ADDR is not set, for hosts that choose the port; no default."`
	BaseURL string `env:"BASE_URL" placeholder:"URL" help:"The public origin, https unless on loopback; default http:// + ADDR, so http://127.0.0.1:8080."`

	TwitterConsumerKey        string `env:"TWITTER_CONSUMER_KEY" placeholder:"KEY" help:"The application's API key at Twitter; no default: without key and secret the sandbox stands in, on loopback only."`
	TwitterConsumerKeyFile    string `env:"TWITTER_CONSUMER_KEY_FILE" placeholder:"FILE" help:"A file with TWITTER_CONSUMER_KEY in it, instead; no default."`
	TwitterConsumerSecret     string `env:"TWITTER_CONSUMER_SECRET" placeholder:"SECRET" help:"The API key's secret; no default."`
	TwitterConsumerSecretFile string `env:"TWITTER_CONSUMER_SECRET_FILE" placeholder:"FILE" help:"A file with TWITTER_CONSUMER_SECRET in it, instead; no default."`
	TwitterAPIURL             string `env:"TWITTER_API_URL" placeholder:"URL" help:"Twitter's origin, https unless on loopback; default https://api.x.com."`

	SecretKey       string `env:"SECRET_KEY" placeholder:"KEY,..." help:"Encrypts cookies and access tokens: at least 32 bytes, several with commas, the newest first; required unless BASE_URL is on loopback and the database SQLite, where the default is made once and kept beside it."`
	SecretKeyFile   string `env:"SECRET_KEY_FILE" placeholder:"FILE" help:"A file with SECRET_KEY in it, instead; no default."`
	DatabaseURL     string `env:"DATABASE_URL" placeholder:"URL" help:"Where accounts and sessions are kept: sqlite: and a file, or postgres://… when more than one instance runs; default sqlite:data/perch.db."`
	DatabaseURLFile string `env:"DATABASE_URL_FILE" placeholder:"FILE" help:"A file with DATABASE_URL in it, instead; no default."`

	SandboxAddr           string `env:"SANDBOX_ADDR" placeholder:"HOST:PORT" help:"Where the sandbox listens, on loopback only and under another host name than BASE_URL's; default the other loopback name and the port after ADDR's, so localhost:8081."`
	SandboxConsumerKey    string `env:"SANDBOX_CONSUMER_KEY" placeholder:"KEY" help:"The key the sandbox knows; default one made at each start."`
	SandboxConsumerSecret string `env:"SANDBOX_CONSUMER_SECRET" placeholder:"SECRET" help:"The secret of the sandbox's key; default one made at each start."`

	SessionIdle     string `env:"SESSION_IDLE" placeholder:"DURATION" help:"How long an unused session lasts; default 168h."`
	SessionLifetime string `env:"SESSION_LIFETIME" placeholder:"DURATION" help:"How long any session lasts; default 720h."`
	TrustedProxies  string `env:"TRUSTED_PROXIES" placeholder:"CIDR,..." help:"The proxies whose X-Forwarded-For counts, as networks or single addresses; default none."`
	LoginRate       string `env:"LOGIN_RATE" placeholder:"N" help:"How often one address may start to sign in per minute, 0 for no limit; default 30."`
	MetricsAddr     string `env:"METRICS_ADDR" placeholder:"HOST:PORT" help:"Where Prometheus finds /metrics, and pprof; it must not be public, for they answer anybody; no default: nowhere."`
	LogFormat       string `env:"LOG_FORMAT" placeholder:"FORMAT" help:"text or json; default text on a terminal, else json."`
}

// Flags fills s from the environment, and returns a flag for each setting that
// goes before it. A flag has the name of the variable, in small letters.
func (s *Settings) Flags() *pflag.FlagSet {
	flags := pflag.NewFlagSet("settings", pflag.ContinueOnError)
	flags.SortFlags = false
	for field, value := range reflect.ValueOf(s).Elem().Fields() {
		name := field.Tag.Get("env")
		value.SetString(os.Getenv(name))
		flags.Var(setting{value, field.Tag.Get("placeholder")}, strings.ReplaceAll(strings.ToLower(name), "_", "-"),
			strings.TrimSuffix(field.Tag.Get("help"), ".")+" ($"+name+").")
	}
	return flags
}

// A setting is one of them, as a flag.
type setting struct {
	value       reflect.Value
	placeholder string
}

func (s setting) Set(text string) error { s.value.SetString(text); return nil }
func (s setting) Type() string          { return s.placeholder } // as --help shows it
func (s setting) String() string        { return "" }            // so that --help shows no value
