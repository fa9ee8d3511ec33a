package config

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Config is what the program uses: parsed, defaulted, checked.
type Config struct {
	// Addr is where to listen, as host:port. The host may be empty (every
	// address), and the port 0 (any free one).
	Addr string

	// BaseURL is the public origin: scheme and host, in the form a browser
	// sends as Origin, and nothing else.
	BaseURL *url.URL

	// Sandbox says that no keys are set and the sandbox stands in for Twitter.
	// Then BaseURL and Addr are on loopback, TwitterAPIURL is SandboxURL, and
	// ConsumerKey and ConsumerSecret are empty: the sandbox knows them.
	Sandbox bool

	ConsumerKey    string
	ConsumerSecret string
	TwitterAPIURL  *url.URL

	// SandboxAddr and SandboxURL are filled with real keys too, for the sandbox
	// that runs alone. They are on loopback, under another host name than
	// BaseURL's, because cookies ignore ports. The key and its secret are both
	// set or both empty; empty, the sandbox makes its own.
	SandboxAddr           string
	SandboxURL            *url.URL
	SandboxConsumerKey    string
	SandboxConsumerSecret string

	// SecretKeys are the newest first. It is empty only when BaseURL is on
	// loopback and the database is SQLite: then a key is made once and kept in
	// KeyFile.
	SecretKeys [][]byte

	// DatabaseURL is sqlite: and the clean path of a file, or a postgres:// URL,
	// which may hold a password.
	DatabaseURL string

	SessionIdle     time.Duration
	SessionLifetime time.Duration
	TrustedProxies  []netip.Prefix

	// LoginRate is per minute and address; 0 is no limit.
	LoginRate int

	// MetricsAddr is where metrics and pprof answer anybody, as host:port with a
	// port of its own. The host may be empty (every address). Empty is nowhere.
	MetricsAddr string

	// LogFormat is "text", "json", or "" for text on a terminal and else json.
	LogFormat string
}

// Check turns settings into a Config, or refuses them: its error is one
// sentence for the operator. It reads the files that hold secrets with readFile
// and touches nothing else.
func (s Settings) Check(readFile func(name string) ([]byte, error)) (Config, error) {
	d := &door{s: s, readFile: readFile}
	for _, step := range []func() error{
		d.listen, d.baseURL, d.sandbox, d.twitter, d.secretKeys, d.database,
		d.sessions, d.trustedProxies, d.loginRate, d.metrics, d.logFormat,
	} {
		if err := step(); err != nil {
			return Config{}, err
		}
	}
	return d.c, nil
}

// Loopback reports whether host, without port or brackets, is exactly
// localhost, in 127.0.0.0/8, or ::1. It asks no resolver, and takes no other
// spelling of these, upper case apart.
func Loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return strings.ToLower(host) == "localhost"
	}
	return ip.Is4() && ip.IsLoopback() || ip == netip.IPv6Loopback()
}

// A refusal is a sentence for the operator.
type refusal string

func (r refusal) Error() string { return string(r) }

func refuse(format string, args ...any) error {
	return refusal(fmt.Sprintf(format, args...))
}

// A door takes settings in and lets a Config out, one step after the other;
// later steps rely on what earlier ones put into c.
type door struct {
	s        Settings
	readFile func(name string) ([]byte, error)
	c        Config

	host string // of c.Addr
	port int

	sandboxPort int
}

func (d *door) listen() error {
	addr := cmp.Or(trim(d.s.Addr), "127.0.0.1:8080")
	if port := trim(d.s.Port); port != "" && trim(d.s.Addr) == "" {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return refuse("PORT must be a port number such as 8080.")
		}
		addr = ":" + port
	}

	var ok bool
	d.c.Addr, d.host, d.port, ok = hostPort(addr)
	if !ok {
		return refuse("ADDR must be a host and a port number, such as 127.0.0.1:8080.")
	}
	return nil
}

func (d *door) baseURL() (err error) {
	value := trim(d.s.BaseURL)
	if value == "" {
		if !Loopback(d.host) || d.port == 0 {
			return refuse("BASE_URL must be set to the public origin, such as https://perch.example, unless ADDR is a loopback address with a port such as 127.0.0.1:8080.")
		}
		value = "http://" + d.c.Addr
	}

	d.c.BaseURL, err = origin("BASE_URL", value)
	return err
}

// sandbox checks the sandbox's settings whether or not they are used: a wrong
// setting is wrong, and the sandbox may be asked to run alone.
func (d *door) sandbox() (err error) {
	name := "localhost"
	if d.c.BaseURL.Hostname() == name {
		name = "127.0.0.1"
	}
	port := d.port + 1
	if d.port == 0 || d.port == 65535 {
		port = 8081
	}
	addr := cmp.Or(trim(d.s.SandboxAddr), net.JoinHostPort(name, strconv.Itoa(port)))

	addr, name, port, ok := hostPort(addr)
	if !ok || !Loopback(name) || port == 0 {
		return refuse("SANDBOX_ADDR must be a loopback address with a port, such as localhost:8081.")
	}
	if name == d.c.BaseURL.Hostname() || port == d.port {
		return refuse("SANDBOX_ADDR must have another host name than BASE_URL (127.0.0.1 beside localhost), because cookies ignore ports, and another port than ADDR.")
	}
	d.c.SandboxAddr, d.sandboxPort = addr, port
	if d.c.SandboxURL, err = origin("SANDBOX_ADDR", "http://"+d.c.SandboxAddr); err != nil {
		return err
	}

	d.c.SandboxConsumerKey, d.c.SandboxConsumerSecret = trim(d.s.SandboxConsumerKey), trim(d.s.SandboxConsumerSecret)
	return pair("SANDBOX_CONSUMER_KEY", d.c.SandboxConsumerKey, "SANDBOX_CONSUMER_SECRET", d.c.SandboxConsumerSecret)
}

func (d *door) twitter() (err error) {
	d.c.ConsumerKey, err = d.secret("TWITTER_CONSUMER_KEY", d.s.TwitterConsumerKey, d.s.TwitterConsumerKeyFile)
	if err != nil {
		return err
	}
	d.c.ConsumerSecret, err = d.secret("TWITTER_CONSUMER_SECRET", d.s.TwitterConsumerSecret, d.s.TwitterConsumerSecretFile)
	if err != nil {
		return err
	}
	if err := pair("TWITTER_CONSUMER_KEY", d.c.ConsumerKey, "TWITTER_CONSUMER_SECRET", d.c.ConsumerSecret); err != nil {
		return err
	}

	if d.c.ConsumerKey != "" {
		d.c.TwitterAPIURL, err = origin("TWITTER_API_URL", cmp.Or(trim(d.s.TwitterAPIURL), "https://api.x.com"))
		return err
	}
	if !Loopback(d.c.BaseURL.Hostname()) || !Loopback(d.host) {
		return refuse("TWITTER_CONSUMER_KEY and TWITTER_CONSUMER_SECRET must be set: the sandbox stands in for them only when both BASE_URL and ADDR are on loopback.")
	}
	if trim(d.s.TwitterAPIURL) != "" {
		// Who names a Twitter means to talk to it: lost keys must not end in the sandbox.
		return refuse("TWITTER_API_URL must go with TWITTER_CONSUMER_KEY and TWITTER_CONSUMER_SECRET: set these too, or leave it out for the sandbox.")
	}
	d.c.Sandbox, d.c.TwitterAPIURL = true, d.c.SandboxURL
	return nil
}

func (d *door) secretKeys() error {
	value, err := d.secret("SECRET_KEY", d.s.SecretKey, d.s.SecretKeyFile)
	if err != nil {
		return err
	}
	if value == "" {
		if !Loopback(d.c.BaseURL.Hostname()) {
			return refuse("SECRET_KEY must be set, because BASE_URL is not on loopback: `openssl rand -hex 32` makes one.")
		}
		return nil
	}

	for key := range strings.SplitSeq(value, ",") {
		key = trim(key)
		// A line break is a second key that lacks its comma.
		if len(key) < 32 || strings.ContainsFunc(key, unicode.IsControl) {
			return refuse("SECRET_KEY must be one or more keys of at least 32 bytes, with commas between them and the newest first: `openssl rand -hex 32` makes one.")
		}
		d.c.SecretKeys = append(d.c.SecretKeys, []byte(key))
	}
	return nil
}

func (d *door) database() error {
	value, err := d.secret("DATABASE_URL", d.s.DatabaseURL, d.s.DatabaseURLFile)
	if err != nil {
		return err
	}
	if strings.HasPrefix(value, "postgres:") || strings.HasPrefix(value, "postgresql:") {
		return d.postgres(value)
	}

	path, ok := strings.CutPrefix(cmp.Or(value, "sqlite:data/perch.db"), sqlite)
	if path = trim(path); !ok || !plainPath(path) {
		return refuse("DATABASE_URL must be sqlite: and the path of a file, such as sqlite:data/perch.db or sqlite:/var/lib/perch/perch.db, without options, or a postgres:// URL.")
	}
	d.c.DatabaseURL = sqlite + filepath.Clean(path)
	return nil
}

const sqlite = "sqlite:"

func (d *door) postgres(value string) error {
	u, err := url.Parse(value)
	if err != nil || u.Opaque != "" || u.Host == "" && !u.Query().Has("host") || strings.Contains(value, "#") {
		return refuse("DATABASE_URL must be a URL such as postgres://perch:password@db.example/perch?sslmode=verify-full, with %%40 for an @ in the password, and the like.")
	}
	if len(d.c.SecretKeys) == 0 {
		return refuse("SECRET_KEY must be set, because every instance that uses the PostgreSQL database needs the same one: `openssl rand -hex 32` makes one.")
	}
	d.c.DatabaseURL = value
	return nil
}

// KeyFile is where the secret key is kept when none is set: beside the SQLite
// database.
func (c Config) KeyFile() string {
	return filepath.Join(filepath.Dir(strings.TrimPrefix(c.DatabaseURL, sqlite)), "secret.key")
}

// plainPath reports whether path names a file and nothing that SQLite, or
// somebody used to other URLs, would read differently: a database in memory, a
// URI, an option, a host (sqlite://data/perch.db is not data/perch.db).
func plainPath(path string) bool {
	return path != "" && !strings.HasSuffix(path, "/") &&
		!strings.HasPrefix(path, ":memory:") && !strings.HasPrefix(path, "file:") &&
		(!strings.HasPrefix(path, "//") || strings.HasPrefix(path, "///")) &&
		!strings.Contains(path, "?") && !strings.ContainsFunc(path, unicode.IsControl)
}

func (d *door) sessions() (err error) {
	if d.c.SessionIdle, err = duration("SESSION_IDLE", d.s.SessionIdle, "168h"); err != nil {
		return err
	}
	if d.c.SessionLifetime, err = duration("SESSION_LIFETIME", d.s.SessionLifetime, "720h"); err != nil {
		return err
	}
	if d.c.SessionIdle > d.c.SessionLifetime {
		return refuse("SESSION_IDLE must not be longer than SESSION_LIFETIME.")
	}
	return nil
}

func (d *door) trustedProxies() error {
	value := trim(d.s.TrustedProxies)
	if value == "" {
		return nil
	}
	for part := range strings.SplitSeq(value, ",") {
		proxy, err := prefix(trim(part))
		if err != nil || proxy.Addr().Is4In6() { // which would contain no address at all
			return refuse("TRUSTED_PROXIES must be networks or addresses with commas between them, such as 10.0.0.0/8,192.0.2.7.")
		}
		d.c.TrustedProxies = append(d.c.TrustedProxies, proxy.Masked())
	}
	return nil
}

// prefix reads a network, or a single address as the network it is alone in.
func prefix(s string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(s); err == nil {
		s += "/" + strconv.Itoa(ip.BitLen())
	}
	return netip.ParsePrefix(s)
}

func (d *door) loginRate() (err error) {
	d.c.LoginRate, err = strconv.Atoi(cmp.Or(trim(d.s.LoginRate), "30"))
	if err != nil || d.c.LoginRate < 0 {
		return refuse("LOGIN_RATE must be a whole number such as 30, or 0 for no limit.")
	}
	return nil
}

func (d *door) metrics() error {
	addr := trim(d.s.MetricsAddr)
	if addr == "" {
		return nil
	}
	addr, _, port, ok := hostPort(addr)
	if !ok || port == 0 || port == d.port || d.c.Sandbox && port == d.sandboxPort {
		return refuse("METRICS_ADDR must be a host and a port number, such as 127.0.0.1:9090, with another port than ADDR's and SANDBOX_ADDR's.")
	}
	d.c.MetricsAddr = addr
	return nil
}

func (d *door) logFormat() error {
	d.c.LogFormat = trim(d.s.LogFormat)
	switch d.c.LogFormat {
	case "", "text", "json":
		return nil
	}
	return refuse("LOG_FORMAT must be text or json.")
}

// secret takes the secret called name from its own variable or from the file
// that the variable name_FILE names.
func (d *door) secret(name, value, file string) (string, error) {
	value, file = trim(value), trim(file)
	if file == "" {
		return value, nil
	}
	if value != "" {
		return "", refuse("%s and %s_FILE must not both be set: keep one of them.", name, name)
	}

	content, err := d.readFile(file)
	if err != nil {
		return "", refuse("%s_FILE must name a file to read: %q cannot be read.", name, file)
	}
	value = trim(string(content))
	if value == "" || len(value) > 16<<10 {
		return "", refuse("%s_FILE must name a file that holds %s and nothing else: %q is empty, or too large.", name, name, file)
	}
	return value, nil
}

// pair checks a consumer key and its secret: both or neither.
func pair(keyName, key, secretName, secret string) error {
	if (key == "") != (secret == "") {
		return refuse("%s and %s must both be set, or neither.", keyName, secretName)
	}
	unprintable := func(r rune) bool { return r <= ' ' || r > '~' }
	switch {
	case strings.ContainsFunc(key, unprintable):
		return refuse("%s must be printable ASCII without spaces, exactly as it was issued.", keyName)
	case strings.ContainsFunc(secret, unprintable):
		return refuse("%s must be printable ASCII without spaces, exactly as it was issued.", secretName)
	}
	return nil
}

// origin parses value as scheme and host alone: https, or http on loopback. The
// answer is in the form a browser sends as Origin.
func origin(name, value string) (*url.URL, error) {
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || strings.TrimPrefix(u.Path, "/") != "" || strings.ContainsAny(value, "?#@") {
		return nil, refuse("%s must be an origin such as https://host.example: scheme and host, without user, path, query or fragment.", name)
	}

	defaultPort := map[string]string{"http": "80", "https": "443"}[u.Scheme]
	addr, host, port, ok := hostPort(net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), defaultPort)))
	if !ok || host == "" || port == 0 {
		return nil, refuse("%s must have a host name in ASCII or an IP address, with a port from 1 to 65535 if any, such as https://host.example.", name)
	}
	if u.Scheme == "http" && !Loopback(host) {
		return nil, refuse("%s must start with https:// unless it is on loopback.", name)
	}
	return &url.URL{Scheme: u.Scheme, Host: strings.TrimSuffix(addr, ":"+defaultPort)}, nil
}

// hostPort splits addr, and gives it back in its one spelling: lower case, IP
// addresses as netip writes them, ports without leading zeros. The host may be
// empty.
func hostPort(addr string) (canonical, host string, port int, ok bool) {
	host, digits, err := net.SplitHostPort(addr)
	if err != nil {
		return "", "", 0, false
	}
	number, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return "", "", 0, false
	}
	host, ok = canonicalHost(host)
	return net.JoinHostPort(host, strconv.FormatUint(number, 10)), host, int(number), ok
}

var hostName = regexp.MustCompile(`^(([a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?\.)*[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)?$`)

// canonicalHost takes an IP address, a host name, or nothing. A name that ends
// in a number is refused, because browsers read it as an IPv4 address: 127.1,
// 0x7f.1 (https://url.spec.whatwg.org/#ends-in-a-number-checker).
func canonicalHost(host string) (string, bool) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.String(), ip.Zone() == ""
	}
	lower := strings.ToLower(host)
	last := lower[strings.LastIndexByte(lower, '.')+1:]
	number := last != "" && strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x")
	return lower, hostName.MatchString(host) && !number
}

func duration(name, value, fallback string) (time.Duration, error) {
	d, err := time.ParseDuration(cmp.Or(trim(value), fallback))
	if err != nil || d < time.Second {
		return 0, refuse("%s must be a duration of at least a second, such as %s or 90m.", name, fallback)
	}
	return d, nil
}

func trim(s string) string { return strings.TrimSpace(s) }
