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

	"github.com/spf13/cobra"

	"perch/internal/config"
	"perch/sandbox"
)

// pretend is `perch sandbox`, as its flags have it.
type pretend struct {
	addr, logFormat string

	consumerKey, consumerSecret, accounts, autoApprove, print string
	callbacks, faults                                         []string
	seed                                                      int64
	rateLimits, allowRemote                                   bool
}

// sandboxCommand is `perch sandbox`. ADDR of the environment and .env is the
// application's, and would set the sandbox in its place; so --addr is a flag of
// its own here, and of the settings it heeds LOG_FORMAT alone.
func sandboxCommand(s *config.Settings) *cobra.Command {
	var p pretend
	cmd := &cobra.Command{
		Use:   "sandbox",
		Short: "Run the sandbox alone, to test a sign-in of your own.",
		Long: "Run the sandbox alone: a pretend Twitter, for people who test their own sign-in.\n" +
			"Of the settings it knows only --log-format.",
		Args:        noArgs,
		Annotations: map[string]string{knows: "log-format"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			p.addr, p.logFormat = cmp.Or(p.addr, "localhost:8081"), s.LogFormat
			return p.run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&p.addr, "addr", "", "Where to listen, `HOST:PORT`, on loopback unless --allow-remote; default localhost:8081.")
	flags.StringVar(&p.consumerKey, "consumer-key", "", "The `KEY` it knows; default one made at each start.")
	flags.StringVar(&p.consumerSecret, "consumer-secret", "", "The `SECRET` of the key; default one made at each start.")
	flags.StringArrayVar(&p.callbacks, "callback", nil, "A registered callback `URL`, or oob for PINs; may be given several times; default any http or https URL on loopback.")
	flags.StringVar(&p.accounts, "accounts", "", "A `FILE` with the people there, as a JSON array of {\"id\", \"screen_name\", \"name\", \"email\", \"state\"}; default five demo accounts.")
	flags.StringArrayVar(&p.faults, "fault", nil, "A `FAULT`, something that goes wrong from the start, as kind[@endpoint][*times][:seconds], such as slow@access_token*1:5; may be given several times. A kind that is none shows all.")
	flags.StringVar(&p.autoApprove, "auto-approve", "", "The screen `NAME` of the account that says yes at once, without a page.")
	flags.Int64Var(&p.seed, "seed", 0, "A number `N` that makes keys and tokens the same in every run, for tests that record; default random.")
	flags.BoolVar(&p.rateLimits, "rate-limits", false, "Refuse with 429 what is over X's rate limits.")
	flags.BoolVar(&p.allowRemote, "allow-remote", false, "Listen on any address, and answer anybody who reaches it: it is a toy Twitter, where everybody can be anybody.")
	flags.StringVar(&p.print, "print", "text", "The `FORMAT` in which to print what a client needs: text, or json on one line.")
	return cmd
}

// run runs the sandbox until ctx is done.
func (p pretend) run(ctx context.Context) error {
	options, err := p.options()
	if err != nil {
		return err
	}
	switch {
	case p.print != "text" && p.print != "json":
		return errors.New("--print must be text or json")
	case !slices.Contains([]string{"", "text", "json"}, p.logFormat):
		return errors.New("LOG_FORMAT must be text or json")
	}
	log := logger(p.logFormat)
	options.Log = log
	twitter, err := sandbox.New(options)
	if err != nil {
		return err
	}
	listener, err := p.listen(ctx)
	if err != nil {
		return fmt.Errorf("--addr cannot be listened on: %w", err)
	}
	if p.allowRemote {
		log.Warn("sandbox open to others", "warning", "this is a toy Twitter: whoever reaches it can be anybody there; never let a real application trust it")
	}

	server := newServer(twitter, log)
	context.AfterFunc(ctx, func() { server.Close() })
	if err := p.announce(os.Stdout, twitter, address(p.addr, listener)); err != nil {
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
		ConsumerKey: p.consumerKey, ConsumerSecret: p.consumerSecret, Callbacks: p.callbacks,
		AutoApprove: p.autoApprove, Seed: p.seed, AllowRemote: p.allowRemote, RateLimits: p.rateLimits,
	}
	for _, text := range p.faults {
		f, err := sandbox.ParseFault(text)
		if err != nil {
			return o, err
		}
		o.Faults = append(o.Faults, f)
	}
	if p.accounts == "" {
		return o, nil
	}
	content, err := os.ReadFile(p.accounts)
	if err != nil {
		return o, fmt.Errorf("--accounts must name a file to read: %w", err)
	}
	if err := json.Unmarshal(content, &o.Accounts); err != nil {
		return o, fmt.Errorf("--accounts must name a JSON array of accounts: %w", err)
	}
	return o, nil
}

func (p pretend) listen(ctx context.Context) (net.Listener, error) {
	if p.allowRemote {
		return new(net.ListenConfig).Listen(ctx, "tcp", p.addr)
	}
	return sandbox.Listen(ctx, p.addr)
}

// announce tells a person, or a program, what a client has to know.
func (p pretend) announce(w io.Writer, s *sandbox.Server, url string) error {
	if p.print == "json" {
		return json.NewEncoder(w).Encode(map[string]any{
			"url": url, "consumer_key": s.ConsumerKey(), "consumer_secret": s.ConsumerSecret(), "callbacks": append([]string{}, p.callbacks...),
			"accounts": s.Accounts(), "endpoints": sandbox.Endpoints(url), "control": url + "/_sandbox/",
		})
	}
	fmt.Fprintf(w, `
The sandbox, a pretend Twitter, is at  %s
  consumer key     %s
  consumer secret  %s
`, url, s.ConsumerKey(), s.ConsumerSecret())
	for _, callback := range p.callbacks {
		fmt.Fprintf(w, "  callback         %s\n", callback)
	}
	if len(p.callbacks) == 0 {
		fmt.Fprintln(w, "  callback         any http or https URL on loopback; --callback registers yours, as X wants it")
	}
	if p.allowRemote {
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
