package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"

	"github.com/alecthomas/kong"

	"perch/sandbox"
)

// pretend is `perch sandbox`. It has an --addr as well, the one that all
// commands have: see addr.
type pretend struct {
	ConsumerKey    string   `placeholder:"KEY" help:"The key it knows; default one made at each start."`
	ConsumerSecret string   `placeholder:"SECRET" help:"The secret of the key; default one made at each start."`
	Callback       []string `placeholder:"URL" sep:"none" help:"A registered callback URL, or oob for PINs; may be given several times; default any http or https URL on loopback."`
	Accounts       string   `placeholder:"FILE" help:"A file with the people there, as a JSON array of {\"id\", \"screen_name\", \"name\", \"email\", \"state\"}; default five demo accounts."`
	Fault          []string `placeholder:"FAULT" sep:"none" help:"Something that goes wrong from the start, as kind[@endpoint][*times][:seconds], such as slow@access_token*1:5; may be given several times. A kind that is none shows all."`
	AutoApprove    string   `placeholder:"NAME" help:"The screen name of the account that says yes at once, without a page."`
	Seed           int64    `placeholder:"N" help:"Makes keys and tokens the same in every run, for tests that record; default random."`
	RateLimits     bool     `help:"Refuse with 429 what is over X's rate limits."`
	AllowRemote    bool     `help:"Listen on any address, and answer anybody who reaches it: it is a toy Twitter, where everybody can be anybody."`
	Print          string   `placeholder:"FORMAT" default:"text" help:"How to print what a client needs: text, or json on one line; default text."`
}

// Help stands below the flags.
func (pretend) Help() string {
	return "It listens at --addr, by default localhost:8081. Of the settings it knows only --addr and --log-format."
}

// Run runs the sandbox until ctx is done.
func (p pretend) Run(ctx context.Context, all *commands, given *kong.Context) error {
	options, err := p.options()
	if err != nil {
		return err
	}
	switch {
	case p.Print != "text" && p.Print != "json":
		return errors.New("--print must be text or json")
	case !slices.Contains([]string{"", "text", "json"}, all.LogFormat):
		return errors.New("LOG_FORMAT must be text or json")
	}
	log := logger(all.LogFormat)
	options.Log = log
	twitter, err := sandbox.New(options)
	if err != nil {
		return err
	}
	addr := p.addr(all, given)
	listener, err := p.listen(ctx, addr)
	if err != nil {
		return fmt.Errorf("--addr cannot be listened on: %w", err)
	}
	if p.AllowRemote {
		log.Warn("sandbox open to others", "warning", "this is a toy Twitter: whoever reaches it can be anybody there; never let a real application trust it")
	}

	server := newServer(twitter, log)
	context.AfterFunc(ctx, func() { server.Close() })
	if err := p.announce(os.Stdout, twitter, address(addr, listener)); err != nil {
		return err
	}
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// options are the flags as the sandbox wants them, but for the log.
func (p pretend) options() (sandbox.Options, error) {
	o := sandbox.Options{
		ConsumerKey: p.ConsumerKey, ConsumerSecret: p.ConsumerSecret, Callbacks: p.Callback,
		AutoApprove: p.AutoApprove, Seed: p.Seed, AllowRemote: p.AllowRemote, RateLimits: p.RateLimits,
	}
	for _, text := range p.Fault {
		f, err := sandbox.ParseFault(text)
		if err != nil {
			return o, err
		}
		o.Faults = append(o.Faults, f)
	}
	if p.Accounts == "" {
		return o, nil
	}
	content, err := os.ReadFile(p.Accounts)
	if err != nil {
		return o, fmt.Errorf("--accounts must name a file to read: %w", err)
	}
	if err := json.Unmarshal(content, &o.Accounts); err != nil {
		return o, fmt.Errorf("--accounts must name a JSON array of accounts: %w", err)
	}
	return o, nil
}

// addr is what stands on the command line. ADDR of the environment and .env is
// the application's, and would set the sandbox in its place.
func (pretend) addr(all *commands, given *kong.Context) string {
	for _, step := range given.Path {
		if step.Flag != nil && step.Flag.Name == "addr" && !step.Resolved {
			return cmp.Or(all.Addr, "localhost:8081")
		}
	}
	return "localhost:8081"
}

func (p pretend) listen(ctx context.Context, addr string) (net.Listener, error) {
	if p.AllowRemote {
		return new(net.ListenConfig).Listen(ctx, "tcp", addr)
	}
	return sandbox.Listen(ctx, addr)
}

// announce tells a person, or a program, what a client has to know.
func (p pretend) announce(w io.Writer, s *sandbox.Server, url string) error {
	if p.Print == "json" {
		return json.NewEncoder(w).Encode(map[string]any{
			"url": url, "consumer_key": s.ConsumerKey(), "consumer_secret": s.ConsumerSecret(), "callbacks": append([]string{}, p.Callback...),
			"accounts": s.Accounts(), "endpoints": sandbox.Endpoints(url), "control": url + "/_sandbox/",
		})
	}
	fmt.Fprintf(w, `
The sandbox, a pretend Twitter, is at  %s
  consumer key     %s
  consumer secret  %s
`, url, s.ConsumerKey(), s.ConsumerSecret())
	for _, callback := range p.Callback {
		fmt.Fprintf(w, "  callback         %s\n", callback)
	}
	if len(p.Callback) == 0 {
		fmt.Fprintln(w, "  callback         any http or https URL on loopback; --callback registers yours, as X wants it")
	}
	if p.AllowRemote {
		fmt.Fprintln(w, "\nIT ANSWERS TO OTHER COMPUTERS. It is a toy Twitter, where everybody can be anybody.")
	}
	_, err := fmt.Fprintln(w)
	return err
}

// address is the URL of what listens at addr: under the name that was asked for,
// with the port that was got. Every address together has no name; localhost is
// one of them.
func address(addr string, l net.Listener) string {
	host, _, _ := net.SplitHostPort(addr) // it was listened on
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return "http://" + net.JoinHostPort(host, port)
}
