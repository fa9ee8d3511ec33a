package sandbox

import (
	"context"
	"net/http"
)

// T is what Start needs of a test: a *testing.T, *testing.B or *testing.F.
type T interface {
	Helper()
	Cleanup(func())
	Fatal(...any)
}

// Running is a sandbox that answers at URL, for a test.
type Running struct {
	*Server
	URL                         string // http://127.0.0.1:port
	ConsumerKey, ConsumerSecret string
}

// Start runs a sandbox on a free port of 127.0.0.1 until the test ends. The test fails when opts are wrong or there is no port.
func Start(t T, opts Options) *Running {
	t.Helper()
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
		return nil
	}
	l, err := Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
		return nil
	}
	server := &http.Server{Handler: s}
	t.Cleanup(func() { server.Close() })
	go server.Serve(l)
	return &Running{s, "http://" + l.Addr().String(), s.ConsumerKey(), s.ConsumerSecret()}
}
