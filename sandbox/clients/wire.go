package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"perch/sandbox"
)

// wireCase is a thing that happens to a sign-in, and what the client says in the end.
type wireCase struct {
	name             string
	url, key, secret string // of the Twitter that the client is sent to
	says             string
}

// wires starts what is needed for each case: the sandbox itself, or something between it and the client.
func wires(ctx context.Context, twitter endpoint) ([]wireCase, error) {
	late, err := sandbox.New(sandbox.Options{
		ConsumerKey: twitter.Key, ConsumerSecret: twitter.Secret, Callbacks: twitter.Callbacks,
		Now: func() time.Time { return time.Now().Add(10 * time.Minute) },
	})
	if err != nil {
		return nil, err
	}
	const unauthorized = "Could not authenticate you" // code 32
	cases := []wireCase{
		{name: "sign-in", says: "@robin 2244994945"},
		{name: "wrong secret", says: unauthorized, secret: twitter.Secret + "x"},
		{name: "replayed nonce", says: unauthorized},
		{name: "stale clock", says: "Timestamp out of bounds"}, // code 135
		{name: "wrong verifier", says: "Invalid oauth_verifier parameter"},
		{name: "altered parameter", says: unauthorized},
	}
	between := map[string]http.Handler{
		"replayed nonce":    wire(twitter, func(p *httputil.ReverseProxy) { p.Transport = twice{} }),
		"stale clock":       late, // to a server whose clock is ahead, every client's is behind
		"wrong verifier":    wire(twitter, func(p *httputil.ReverseProxy) { p.ModifyResponse = otherVerifier }),
		"altered parameter": wire(twitter, func(p *httputil.ReverseProxy) { p.Transport = altered{} }),
	}
	for i := range cases {
		k := &cases[i]
		k.url, k.key = twitter.URL, twitter.Key
		if k.secret == "" {
			k.secret = twitter.Secret
		}
		if h, ok := between[k.name]; ok {
			if k.url, err = serve(ctx, h); err != nil {
				return nil, err
			}
		}
	}
	return cases, nil
}

// wire passes everything on as it came, Host included, for that is signed; but for one thing, which spoil sets.
func wire(twitter endpoint, spoil func(*httputil.ReverseProxy)) http.Handler {
	target, _ := url.Parse(twitter.URL) // ours
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host
	}}
	spoil(proxy)
	return proxy
}

// twice sends each signed call to request_token two times, and the answer to the second one back.
type twice struct{}

func (twice) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path != "/oauth/request_token" {
		return http.DefaultTransport.RoundTrip(r)
	}
	again := r.Clone(r.Context())
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body, again.Body = io.NopCloser(bytes.NewReader(body)), io.NopCloser(bytes.NewReader(body))
	}
	first, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	first.Body.Close()
	if first.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the first of two equal calls was refused: %s", first.Status)
	}
	return http.DefaultTransport.RoundTrip(again)
}

// otherVerifier sends the person back with another verifier than Twitter gave them, which the client then signs.
func otherVerifier(answer *http.Response) error {
	back, err := url.Parse(answer.Header.Get("Location"))
	if err != nil {
		return err
	}
	query := back.Query()
	if query.Has("oauth_verifier") {
		query.Set("oauth_verifier", "another")
		back.RawQuery = query.Encode()
		answer.Header.Set("Location", back.String())
	}
	return nil
}

// altered adds a parameter to the call that asks who it is, after it was signed.
type altered struct{}

func (altered) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/verify_credentials.json") || strings.HasSuffix(r.URL.Path, "/users/me") {
		r = r.Clone(r.Context())
		r.URL.RawQuery = strings.TrimPrefix(r.URL.RawQuery+"&altered=1", "&")
	}
	return http.DefaultTransport.RoundTrip(r)
}

// serve serves on a free port until ctx is done, and returns where.
func serve(ctx context.Context, h http.Handler) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listening: %w", err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { server.Close() })
	go server.Serve(l)
	return "http://" + l.Addr().String(), nil
}
