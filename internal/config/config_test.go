package config_test

import (
	"errors"
	"io/fs"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"perch/internal/config"
)

const (
	key32 = "0123456789abcdef0123456789abcdef"
	old32 = "fedcba9876543210fedcba9876543210"
)

// development is what no settings at all come to.
func development() config.Config {
	return config.Config{
		Addr:            "127.0.0.1:8080",
		BaseURL:         origin("http", "127.0.0.1:8080"),
		Sandbox:         true,
		TwitterAPIURL:   origin("http", "localhost:8081"),
		SandboxAddr:     "localhost:8081",
		SandboxURL:      origin("http", "localhost:8081"),
		DatabaseURL:     "sqlite:data/perch.db",
		SessionIdle:     168 * time.Hour,
		SessionLifetime: 720 * time.Hour,
		LoginRate:       30,
	}
}

// production is the least a public Perch needs.
func production() config.Settings {
	return config.Settings{
		Addr:                  ":8080",
		BaseURL:               "https://perch.example",
		TwitterConsumerKey:    "consumer-key",
		TwitterConsumerSecret: "consumer-secret",
		SecretKey:             key32,
	}
}

func origin(scheme, host string) *url.URL { return &url.URL{Scheme: scheme, Host: host} }

// files is a readFile that knows these files only.
func files(contents map[string]string) func(string) ([]byte, error) {
	return func(name string) ([]byte, error) {
		if content, ok := contents[name]; ok {
			return []byte(content), nil
		}
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("raw text of an error")}
	}
}

func TestCheckAccepts(t *testing.T) {
	for name, test := range map[string]struct {
		settings config.Settings
		want     func(*config.Config) // what differs from development
	}{
		"nothing set": {config.Settings{}, func(*config.Config) {}},
		"white space only": {
			config.Settings{Addr: " ", BaseURL: "\n", TwitterConsumerKey: "\t", SecretKey: " ", LoginRate: " "},
			func(*config.Config) {},
		},
		"production": {production(), func(c *config.Config) {
			c.Addr = ":8080"
			c.BaseURL = origin("https", "perch.example")
			c.Sandbox = false
			c.ConsumerKey, c.ConsumerSecret = "consumer-key", "consumer-secret"
			c.TwitterAPIURL = origin("https", "api.x.com")
			c.SecretKeys = [][]byte{[]byte(key32)}
		}},
		"keys on loopback": {
			config.Settings{TwitterConsumerKey: " k ", TwitterConsumerSecret: "s\n", TwitterAPIURL: "http://[::1]:9000/"},
			func(c *config.Config) {
				c.Sandbox = false
				c.ConsumerKey, c.ConsumerSecret = "k", "s"
				c.TwitterAPIURL = origin("http", "[::1]:9000")
			},
		},

		"localhost in any case": {config.Settings{Addr: "LocalHost:08080"}, func(c *config.Config) {
			c.Addr = "localhost:8080"
			c.BaseURL = origin("http", "localhost:8080")
			c.SandboxAddr = "127.0.0.1:8081"
			c.SandboxURL = origin("http", "127.0.0.1:8081")
			c.TwitterAPIURL = c.SandboxURL
		}},
		"IPv6 spelled out": {config.Settings{Addr: "[0:0:0:0:0:0:0:1]:8080"}, func(c *config.Config) {
			c.Addr = "[::1]:8080"
			c.BaseURL = origin("http", "[::1]:8080")
		}},
		"the default port": {config.Settings{Addr: "127.0.0.1:80"}, func(c *config.Config) {
			c.Addr = "127.0.0.1:80"
			c.BaseURL = origin("http", "127.0.0.1")
			c.SandboxAddr = "localhost:81"
			c.SandboxURL = origin("http", "localhost:81")
			c.TwitterAPIURL = c.SandboxURL
		}},
		"the last port": {config.Settings{Addr: "127.0.0.1:65535"}, func(c *config.Config) {
			c.Addr = "127.0.0.1:65535"
			c.BaseURL = origin("http", "127.0.0.1:65535")
		}},
		"any free port, behind a known origin": {config.Settings{Addr: "127.0.0.1:0", BaseURL: "http://127.0.0.1:7000"}, func(c *config.Config) {
			c.Addr = "127.0.0.1:0"
			c.BaseURL = origin("http", "127.0.0.1:7000")
		}},
		"ADDR before PORT": {config.Settings{Addr: "127.0.0.1:8080", Port: "9000"}, func(*config.Config) {}},
		"PORT alone": {
			config.Settings{Port: "9000", BaseURL: "http://localhost:9000", TwitterConsumerKey: "k", TwitterConsumerSecret: "s"},
			func(c *config.Config) {
				c.Addr = ":9000"
				c.BaseURL = origin("http", "localhost:9000")
				c.Sandbox = false
				c.ConsumerKey, c.ConsumerSecret = "k", "s"
				c.TwitterAPIURL = origin("https", "api.x.com")
				c.SandboxAddr = "127.0.0.1:9001"
				c.SandboxURL = origin("http", "127.0.0.1:9001")
			},
		},
		"an origin in capitals with the default port": {config.Settings{BaseURL: "HTTPS://LOCALHOST:443/"}, func(c *config.Config) {
			c.BaseURL = origin("https", "localhost")
			c.SandboxAddr = "127.0.0.1:8081"
			c.SandboxURL = origin("http", "127.0.0.1:8081")
			c.TwitterAPIURL = c.SandboxURL
		}},

		"a sandbox elsewhere with its own keys": {
			config.Settings{SandboxAddr: "127.0.0.2:9000", SandboxConsumerKey: "k", SandboxConsumerSecret: "s"},
			func(c *config.Config) {
				c.SandboxAddr = "127.0.0.2:9000"
				c.SandboxURL = origin("http", "127.0.0.2:9000")
				c.TwitterAPIURL = c.SandboxURL
				c.SandboxConsumerKey, c.SandboxConsumerSecret = "k", "s"
			},
		},
		"two secret keys": {config.Settings{SecretKey: key32 + ", " + old32 + "\n"}, func(c *config.Config) {
			c.SecretKeys = [][]byte{[]byte(key32), []byte(old32)}
		}},
		"secrets from files": {
			config.Settings{SecretKeyFile: "key", TwitterConsumerKeyFile: " k ", TwitterConsumerSecretFile: "s", DatabaseURLFile: "db"},
			func(c *config.Config) {
				c.Sandbox = false
				c.ConsumerKey, c.ConsumerSecret = "file-key", "file-secret"
				c.TwitterAPIURL = origin("https", "api.x.com")
				c.SecretKeys = [][]byte{[]byte(old32)}
				c.DatabaseURL = "sqlite:/var/lib/perch.db"
			},
		},
		"a database by a URL with three slashes": {config.Settings{DatabaseURL: "sqlite:///var/lib/perch.db"}, func(c *config.Config) {
			c.DatabaseURL = "sqlite:/var/lib/perch.db"
		}},
		"PostgreSQL": {config.Settings{DatabaseURL: "postgres://perch:secret@db.example/perch?sslmode=verify-full", SecretKey: key32}, func(c *config.Config) {
			c.DatabaseURL, c.SecretKeys = "postgres://perch:secret@db.example/perch?sslmode=verify-full", [][]byte{[]byte(key32)}
		}},
		"PostgreSQL by a socket": {config.Settings{DatabaseURL: "postgresql:///perch?host=/run/postgresql", SecretKey: key32}, func(c *config.Config) {
			c.DatabaseURL, c.SecretKeys = "postgresql:///perch?host=/run/postgresql", [][]byte{[]byte(key32)}
		}},
		"short sessions": {config.Settings{SessionIdle: "1s", SessionLifetime: "1s"}, func(c *config.Config) {
			c.SessionIdle, c.SessionLifetime = time.Second, time.Second
		}},
		"proxies": {config.Settings{TrustedProxies: "10.1.2.3/8, 192.0.2.7,2001:db8::1"}, func(c *config.Config) {
			c.TrustedProxies = []netip.Prefix{
				netip.MustParsePrefix("10.0.0.0/8"),
				netip.MustParsePrefix("192.0.2.7/32"),
				netip.MustParsePrefix("2001:db8::1/128"),
			}
		}},
		"metrics beside it": {config.Settings{MetricsAddr: " LocalHost:09090 "}, func(c *config.Config) {
			c.MetricsAddr = "localhost:9090"
		}},
		"metrics on every address": {config.Settings{MetricsAddr: ":9090"}, func(c *config.Config) {
			c.MetricsAddr = ":9090"
		}},
		"metrics in a private network, where no sandbox is": {
			config.Settings{TwitterConsumerKey: "k", TwitterConsumerSecret: "s", MetricsAddr: "10.0.0.5:8081"},
			func(c *config.Config) {
				c.Sandbox = false
				c.ConsumerKey, c.ConsumerSecret = "k", "s"
				c.TwitterAPIURL = origin("https", "api.x.com")
				c.MetricsAddr = "10.0.0.5:8081"
			},
		},
		"no limit, JSON": {config.Settings{LoginRate: "0", LogFormat: "json"}, func(c *config.Config) {
			c.LoginRate, c.LogFormat = 0, "json"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := test.settings.Check(files(map[string]string{
				"key": old32 + "\n", "k": "file-key\r\n", "s": " file-secret", "db": "sqlite:/var/lib/perch.db\n",
			}))
			if err != nil {
				t.Fatalf("refused: %v", err)
			}
			want := development()
			test.want(&want)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("\ngot  %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestCheckRefuses(t *testing.T) {
	const secret = "hunter2" // in every value that may hold one
	const hunter32 = secret + key32

	type settings = config.Settings
	for name, test := range map[string]struct {
		change func(*settings) // of production
		want   string          // the sentence has it, the variable above all
	}{
		"an ADDR without a port":          {func(s *settings) { s.Addr = "127.0.0.1" }, "ADDR must be"},
		"an ADDR with a named port":       {func(s *settings) { s.Addr = "127.0.0.1:http" }, "ADDR must be"},
		"an ADDR with a signed port":      {func(s *settings) { s.Addr = "127.0.0.1:+80" }, "ADDR must be"},
		"an ADDR past the last port":      {func(s *settings) { s.Addr = ":65536" }, "ADDR must be"},
		"an ADDR that is a URL":           {func(s *settings) { s.Addr = "http://127.0.0.1:8080" }, "ADDR must be"},
		"an ADDR with a zone":             {func(s *settings) { s.Addr = "[fe80::1%eth0]:8080" }, "ADDR must be"},
		"an ADDR that only looks like IP": {func(s *settings) { s.Addr = "127.1:8080" }, "ADDR must be"},
		"a PORT that is no number":        {func(s *settings) { s.Addr, s.Port = "", "http" }, "PORT must be"},
		"a PORT that is an ADDR":          {func(s *settings) { s.Addr, s.Port = "", "127.0.0.1:80" }, "PORT must be"},

		"every address, and no BASE_URL":     {func(s *settings) { s.BaseURL = "" }, "BASE_URL must be set"},
		"PORT, and no BASE_URL":              {func(s *settings) { s.Addr, s.Port, s.BaseURL = "", "80", "" }, "BASE_URL must be set"},
		"any IPv4 address, and no BASE_URL":  {func(s *settings) { s.Addr, s.BaseURL = "0.0.0.0:80", "" }, "BASE_URL must be set"},
		"any free port, and no BASE_URL":     {func(s *settings) { s.Addr, s.BaseURL = "127.0.0.1:0", "" }, "BASE_URL must be set"},
		"a BASE_URL without a scheme":        {func(s *settings) { s.BaseURL = "perch.example" }, "BASE_URL must be"},
		"a BASE_URL with a port for scheme":  {func(s *settings) { s.BaseURL = "localhost:8080" }, "BASE_URL must be"},
		"a BASE_URL of another scheme":       {func(s *settings) { s.BaseURL = "ftp://perch.example" }, "BASE_URL must be"},
		"a BASE_URL without a host":          {func(s *settings) { s.BaseURL = "https:///" }, "BASE_URL must have a host"},
		"a BASE_URL with a port only":        {func(s *settings) { s.BaseURL = "https://:8080" }, "BASE_URL must have a host"},
		"a BASE_URL with a path":             {func(s *settings) { s.BaseURL = "https://perch.example/app" }, "BASE_URL must be"},
		"a BASE_URL with an escaped slash":   {func(s *settings) { s.BaseURL = "https://perch.example/%2f" }, "BASE_URL must be"},
		"a BASE_URL with a query":            {func(s *settings) { s.BaseURL = "https://perch.example?" }, "BASE_URL must be"},
		"a BASE_URL with a fragment":         {func(s *settings) { s.BaseURL = "https://perch.example#" }, "BASE_URL must be"},
		"a BASE_URL with a user":             {func(s *settings) { s.BaseURL = "https://joe:hunter2@perch.example" }, "BASE_URL must be"},
		"a BASE_URL with an empty user":      {func(s *settings) { s.BaseURL = "https://@perch.example" }, "BASE_URL must be"},
		"a BASE_URL with a backslash":        {func(s *settings) { s.BaseURL = `https://perch.example\@evil` }, "BASE_URL must be"},
		"a BASE_URL on port 0":               {func(s *settings) { s.BaseURL = "https://perch.example:0" }, "BASE_URL must have"},
		"a BASE_URL past the last port":      {func(s *settings) { s.BaseURL = "https://perch.example:65536" }, "BASE_URL must have"},
		"a BASE_URL that is not ASCII":       {func(s *settings) { s.BaseURL = "https://pérch.example" }, "BASE_URL must have"},
		"a BASE_URL with a trailing dot":     {func(s *settings) { s.BaseURL = "https://perch.example." }, "BASE_URL must have"},
		"a BASE_URL that is IPv4 in hex":     {func(s *settings) { s.BaseURL = "https://0x7f000001" }, "BASE_URL must have"},
		"a BASE_URL with IPv6 out of place":  {func(s *settings) { s.BaseURL = "https://::1" }, "BASE_URL must be"},
		"a BASE_URL with a name in brackets": {func(s *settings) { s.BaseURL = "https://[localhost]" }, "BASE_URL must be"},
		"a BASE_URL with a line break":       {func(s *settings) { s.BaseURL = "https://perch\n.example" }, "BASE_URL must be"},
		"a public BASE_URL in the clear":     {func(s *settings) { s.BaseURL = "http://perch.example" }, "BASE_URL must start with https://"},
		"almost localhost in the clear":      {func(s *settings) { s.BaseURL = "http://localhost.evil.example" }, "BASE_URL must start with https://"},
		"any address in the clear":           {func(s *settings) { s.BaseURL = "http://0.0.0.0:8080" }, "BASE_URL must start with https://"},
		"loopback as IPv4 in IPv6":           {func(s *settings) { s.BaseURL = "http://[::ffff:127.0.0.1]" }, "BASE_URL must start with https://"},

		"a key alone": {func(s *settings) { s.TwitterConsumerSecret = "" }, "TWITTER_CONSUMER_KEY and TWITTER_CONSUMER_SECRET must both"},
		"a consumer secret alone": {func(s *settings) { s.TwitterConsumerKey = "" },
			"TWITTER_CONSUMER_KEY and TWITTER_CONSUMER_SECRET must both"},
		"a sandbox in public": {func(s *settings) { s.TwitterConsumerKey, s.TwitterConsumerSecret = "", "" },
			"TWITTER_CONSUMER_KEY and TWITTER_CONSUMER_SECRET must be set"},
		"a sandbox beside a public BASE_URL": {func(s *settings) { *s = settings{BaseURL: "https://perch.example", SecretKey: hunter32} },
			"TWITTER_CONSUMER_KEY and TWITTER_CONSUMER_SECRET must be set"},
		"a sandbox beside a public ADDR": {func(s *settings) { *s = settings{Addr: ":8080", BaseURL: "http://localhost:8080"} },
			"TWITTER_CONSUMER_KEY and TWITTER_CONSUMER_SECRET must be set"},
		"a space in the key":                {func(s *settings) { s.TwitterConsumerKey = "hunter2 key" }, "TWITTER_CONSUMER_KEY must be"},
		"a control character in the secret": {func(s *settings) { s.TwitterConsumerSecret = "hunter2\x00" }, "TWITTER_CONSUMER_SECRET must be"},
		"a Twitter without keys":            {func(s *settings) { *s = settings{TwitterAPIURL: "https://api.x.com"} }, "TWITTER_API_URL must go with"},
		"a Twitter in the clear":            {func(s *settings) { s.TwitterAPIURL = "http://api.x.com" }, "TWITTER_API_URL must start with https://"},
		"a Twitter with a path":             {func(s *settings) { s.TwitterAPIURL = "https://api.x.com/1.1" }, "TWITTER_API_URL must be"},
		"a Twitter with a user":             {func(s *settings) { s.TwitterAPIURL = "https://hunter2@api.x.com" }, "TWITTER_API_URL must be"},

		"a public sandbox":                {func(s *settings) { s.SandboxAddr = ":8081" }, "SANDBOX_ADDR must be a loopback address"},
		"a sandbox on almost localhost":   {func(s *settings) { s.SandboxAddr = "localhost.:8081" }, "SANDBOX_ADDR must be a loopback address"},
		"a sandbox without a port":        {func(s *settings) { s.SandboxAddr = "localhost" }, "SANDBOX_ADDR must be a loopback address"},
		"a sandbox on any free port":      {func(s *settings) { s.SandboxAddr = "localhost:0" }, "SANDBOX_ADDR must be a loopback address"},
		"a sandbox under BASE_URL's name": {func(s *settings) { *s = settings{SandboxAddr: "127.0.0.1:8081"} }, "SANDBOX_ADDR must have another host name"},
		"a sandbox under BASE_URL's name in capitals": {func(s *settings) {
			*s = settings{BaseURL: "http://localhost:8080", SandboxAddr: "LOCALHOST:8081"}
		}, "SANDBOX_ADDR must have another host name"},
		"a sandbox under BASE_URL's name spelled out": {func(s *settings) {
			*s = settings{BaseURL: "http://[::1]:8080", SandboxAddr: "[0:0:0:0:0:0:0:1]:8081"}
		}, "SANDBOX_ADDR must have another host name"},
		"a sandbox on ADDR's port": {func(s *settings) { s.SandboxAddr = "localhost:8080" }, "another port than ADDR"},
		"a sandbox's key alone":    {func(s *settings) { s.SandboxConsumerKey = secret }, "SANDBOX_CONSUMER_KEY and SANDBOX_CONSUMER_SECRET must both"},
		"a space in the sandbox's secret": {func(s *settings) { s.SandboxConsumerKey, s.SandboxConsumerSecret = "k", "hunter2 s" },
			"SANDBOX_CONSUMER_SECRET must be"},

		"no secret key in public":       {func(s *settings) { s.SecretKey = "" }, "SECRET_KEY must be set"},
		"a secret key too short":        {func(s *settings) { s.SecretKey = hunter32[:31] }, "SECRET_KEY must be"},
		"an old secret key too short":   {func(s *settings) { s.SecretKey = hunter32 + ",hunter2" }, "SECRET_KEY must be"},
		"a comma too many":              {func(s *settings) { s.SecretKey = hunter32 + "," }, "SECRET_KEY must be"},
		"secret keys on lines":          {func(s *settings) { s.SecretKey = hunter32 + "\n" + key32 }, "SECRET_KEY must be"},
		"a secret key twice":            {func(s *settings) { s.SecretKey, s.SecretKeyFile = hunter32, "good" }, "SECRET_KEY and SECRET_KEY_FILE must not both"},
		"a secret key in no file":       {func(s *settings) { s.SecretKey, s.SecretKeyFile = "", "no\nfile" }, `SECRET_KEY_FILE must name a file to read: "no\nfile" cannot be read`},
		"a secret key in an empty file": {func(s *settings) { s.SecretKey, s.SecretKeyFile = "", "empty" }, `SECRET_KEY_FILE must name a file that holds SECRET_KEY`},
		"a secret key in a huge file":   {func(s *settings) { s.SecretKey, s.SecretKeyFile = "", "huge" }, `SECRET_KEY_FILE must name a file that holds SECRET_KEY`},
		"a key in no file":              {func(s *settings) { s.TwitterConsumerKey, s.TwitterConsumerKeyFile = "", "no" }, "TWITTER_CONSUMER_KEY_FILE must"},
		"a consumer secret in no file":  {func(s *settings) { s.TwitterConsumerSecret, s.TwitterConsumerSecretFile = "", "no" }, "TWITTER_CONSUMER_SECRET_FILE must"},
		"a database URL in no file":     {func(s *settings) { s.DatabaseURLFile = "no" }, "DATABASE_URL_FILE must"},
		"PostgreSQL without a secret key": {func(s *settings) {
			s.SecretKey, s.BaseURL, s.DatabaseURL = "", "http://localhost:8080", "postgres://perch:hunter2@db/perch"
		},
			"SECRET_KEY must be set, because every instance"},
		"PostgreSQL without a host": {func(s *settings) { s.DatabaseURL = "postgres:perch:hunter2" }, "DATABASE_URL must be a URL such as postgres://"},
		"PostgreSQL anywhere":       {func(s *settings) { s.DatabaseURL = "postgresql:///perch?password=hunter2" }, "DATABASE_URL must be a URL such as postgres://"},
		"a password that is not encoded": {func(s *settings) { s.DatabaseURL = "postgres://perch:hunter2#%@db/perch" },
			"DATABASE_URL must be a URL such as postgres://perch:password@db.example/perch?sslmode=verify-full, with %40 for an @"},
		"another database":               {func(s *settings) { s.DatabaseURL = "mysql://perch:hunter2@db/perch" }, "DATABASE_URL must be sqlite:"},
		"a database without a scheme":    {func(s *settings) { s.DatabaseURL = "hunter2.db" }, "DATABASE_URL must be sqlite:"},
		"a database without a path":      {func(s *settings) { s.DatabaseURL = "sqlite:" }, "DATABASE_URL must be sqlite:"},
		"a database that is a folder":    {func(s *settings) { s.DatabaseURL = "sqlite:data/" }, "DATABASE_URL must be sqlite:"},
		"a database in memory":           {func(s *settings) { s.DatabaseURL = "sqlite::memory:" }, "DATABASE_URL must be sqlite:"},
		"a database by URI":              {func(s *settings) { s.DatabaseURL = "sqlite:file:data/hunter2.db" }, "DATABASE_URL must be sqlite:"},
		"a database with options":        {func(s *settings) { s.DatabaseURL = "sqlite:data/perch.db?key=hunter2" }, "DATABASE_URL must be sqlite:"},
		"a database with a host":         {func(s *settings) { s.DatabaseURL = "sqlite://data/perch.db" }, "DATABASE_URL must be sqlite:"},
		"a database with a zero byte":    {func(s *settings) { s.DatabaseURL = "sqlite:data/\x00" }, "DATABASE_URL must be sqlite:"},
		"an idle time without a unit":    {func(s *settings) { s.SessionIdle = "168" }, "SESSION_IDLE must be"},
		"an idle time of nothing":        {func(s *settings) { s.SessionIdle = "0s" }, "SESSION_IDLE must be"},
		"a lifetime below nothing":       {func(s *settings) { s.SessionLifetime = "-1h" }, "SESSION_LIFETIME must be"},
		"a lifetime under the idle time": {func(s *settings) { s.SessionLifetime = "1h" }, "SESSION_IDLE must not be longer than SESSION_LIFETIME"},
		"a proxy by name":                {func(s *settings) { s.TrustedProxies = "proxy.example" }, "TRUSTED_PROXIES must be"},
		"a proxy too many":               {func(s *settings) { s.TrustedProxies = "10.0.0.0/8," }, "TRUSTED_PROXIES must be"},
		"a proxy with a zone":            {func(s *settings) { s.TrustedProxies = "fe80::1%eth0" }, "TRUSTED_PROXIES must be"},
		"a proxy as IPv4 in IPv6":        {func(s *settings) { s.TrustedProxies = "::ffff:10.0.0.1" }, "TRUSTED_PROXIES must be"},
		"a rate below nothing":           {func(s *settings) { s.LoginRate = "-1" }, "LOGIN_RATE must be"},
		"a rate that is no number":       {func(s *settings) { s.LoginRate = "many" }, "LOGIN_RATE must be"},
		"metrics without a port":         {func(s *settings) { s.MetricsAddr = "127.0.0.1" }, "METRICS_ADDR must be"},
		"metrics at a named port":        {func(s *settings) { s.MetricsAddr = "127.0.0.1:http" }, "METRICS_ADDR must be"},
		"metrics at any free port":       {func(s *settings) { s.MetricsAddr = "127.0.0.1:0" }, "METRICS_ADDR must be"},
		"metrics at a URL":               {func(s *settings) { s.MetricsAddr = "http://127.0.0.1:9090" }, "METRICS_ADDR must be"},
		"metrics in public":              {func(s *settings) { s.MetricsAddr = "10.0.0.5:8080" }, "METRICS_ADDR must be a host and a port number, such as 127.0.0.1:9090, with another port than ADDR's and SANDBOX_ADDR's."},
		"metrics in the sandbox":         {func(s *settings) { *s = settings{MetricsAddr: "127.0.0.1:8081"} }, "METRICS_ADDR must be"},
		"another log format":             {func(s *settings) { s.LogFormat = "JSON" }, "LOG_FORMAT must be"},
	} {
		t.Run(name, func(t *testing.T) {
			s := production()
			s.TwitterConsumerKey, s.TwitterConsumerSecret, s.SecretKey = secret, secret, hunter32
			test.change(&s)

			got, err := s.Check(files(map[string]string{
				"good": hunter32, "empty": " \n", "huge": strings.Repeat("x", 1<<20),
			}))
			if err == nil {
				t.Fatalf("accepted: %+v", got)
			}
			sentence := err.Error()
			if !strings.Contains(sentence, test.want) {
				t.Errorf("got %q, want it to say %q", sentence, test.want)
			}
			if strings.Contains(sentence, secret) || strings.Contains(sentence, "raw text") {
				t.Errorf("got %q, want no secret and no other error's text in it", sentence)
			}
			if strings.Contains(sentence, "\n") || !strings.HasSuffix(sentence, ".") {
				t.Errorf("got %q, want one line with a full stop", sentence)
			}
			if !reflect.ValueOf(got).IsZero() {
				t.Errorf("got %+v beside the error, want nothing", got)
			}
		})
	}
}

func TestLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost":       true,
		"LocalHost":       true,
		"127.0.0.1":       true,
		"127.0.0.0":       true,
		"127.255.255.255": true,
		"::1":             true,
		"0:0:0:0:0:0:0:1": true,

		"":                           false,
		"localhost.":                 false,
		"localhost.evil.example":     false,
		"evil.localhost":             false,
		"localhost@evil":             false,
		"localhost:80":               false,
		" localhost":                 false,
		"localho\u017ft":             false, // folds to localhost
		"127.0.0.1.nip.io":           false,
		"127.0.0.1:80":               false,
		"127.0.0.1.":                 false,
		"127.1":                      false,
		"127.0.0.01":                 false,
		"0x7f.0.0.1":                 false,
		"2130706433":                 false,
		"126.255.255.255":            false,
		"128.0.0.0":                  false,
		"0.0.0.0":                    false,
		"::":                         false,
		"[::1]":                      false,
		"::1%lo":                     false,
		"::2":                        false,
		"::ffff:127.0.0.1":           false,
		"perch.example":              false,
		"127.0.0.1/8":                false,
		"\u0661\u0662\u0667.0.0.1":   false, // Arabic digits
		"127\u30020\u30020\u30021":   false, // ideographic full stops
		"localhost\x00.evil.example": false,
	} {
		if got := config.Loopback(host); got != want {
			t.Errorf("Loopback(%q) = %v, want %v", host, got, want)
		}
	}
}

// An accepted BASE_URL is an origin already: checked again it stays as it is,
// and it is safe to speak to.
func FuzzBaseURL(f *testing.F) {
	for _, seed := range []string{"https://perch.example", "HTTP://LOCALHOST:80/", "http://[::1]:8080", "http://localhost@evil", "https://[::FFFF:1.2.3.4]:443"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if strings.TrimSpace(value) == "" {
			return // as good as not set
		}
		s := production()
		s.BaseURL = value
		first, err := s.Check(nil)
		if err != nil {
			return
		}
		s.BaseURL = first.BaseURL.String()
		again, err := s.Check(nil)
		if err != nil || !reflect.DeepEqual(again, first) {
			t.Errorf("%q became %q, and that became %v (%v)", value, first.BaseURL, again.BaseURL, err)
		}
		if *first.BaseURL != (url.URL{Scheme: first.BaseURL.Scheme, Host: first.BaseURL.Host}) {
			t.Errorf("%q became %#v, want scheme and host alone", value, first.BaseURL)
		}
		if first.BaseURL.Scheme != "https" && !config.Loopback(first.BaseURL.Hostname()) {
			t.Errorf("%q became %q, want https", value, first.BaseURL)
		}
	})
}
