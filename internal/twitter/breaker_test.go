package twitter

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const requestToken = "/oauth/request_token"

// fails makes a call for a visitor that is not answered. made says whether it
// is to reach the provider.
func (a *api) fails(t *testing.T, made bool) {
	t.Helper()
	before := a.called(requestToken)
	_, err := loginOnce(t.Context(), a.Provider)
	var e *Error
	if !errors.As(err, &e) || e.Reason != Unreachable && e.Reason != Unavailable {
		t.Errorf("got %v, want it to say that X is down", err)
	} else if tried := ObstacleOf(err) != NotTried; tried != made || !tried && (e.Status != 0 || !strings.Contains(err.Error(), "not tried")) {
		t.Errorf("got %v; made: want %v", err, made)
	}
	if got := a.called(requestToken) - before; got != map[bool]int{true: 1}[made] {
		t.Errorf("made %d calls, want one: %v", got, made)
	}
}

// works makes a call that succeeds.
func (a *api) works(t *testing.T) {
	t.Helper()
	if _, err := loginOnce(t.Context(), a.Provider); err != nil {
		t.Errorf("got %v, want a token", err)
	}
}

func TestWhileTheProviderIsDownItIsOnlyProbed(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc // nil hangs
	}{
		{"hangs", nil},
		{"resets", reset},
		{"503 in HTML", says(503, "<h1>"+someWords+"</h1>")},
		{"130: over capacity", refuses(503, 130)},
		{"131: internal error", refuses(500, 131)},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newAPI(t, map[string]http.HandlerFunc{requestToken: test.answer})
			if test.answer == nil {
				a.Timeout = 250 * time.Millisecond // long enough for the call to arrive
			}
			for range maxFailures {
				a.fails(t, true)
			}
			a.fails(t, false)
			a.advance(pause - time.Second)
			a.fails(t, false)
			a.advance(time.Second)
			a.fails(t, true) // the probe
			a.fails(t, false)
			a.advance(pause)
			a.fails(t, true)
			a.fails(t, false)

			a.Timeout = 20 * time.Second
			a.answer(requestToken, granted)
			a.fails(t, false)
			a.advance(pause)
			a.works(t)
			a.works(t)
			a.answer(requestToken, reset)
			for range maxFailures { // counted from the start
				a.fails(t, true)
			}
			a.fails(t, false)
		})
	}
}

func TestOneOfManyIsTheProbe(t *testing.T) {
	a := newAPI(t, map[string]http.HandlerFunc{requestToken: reset})
	for range maxFailures {
		a.fails(t, true)
	}
	asked, answer := make(chan struct{}, 2*maxCalls), make(chan struct{})
	a.answer(requestToken, func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-answer
		granted(w, r)
	})
	a.advance(pause)

	var group sync.WaitGroup
	var granted, spared atomic.Int32
	for range 2 * maxCalls {
		group.Go(func() {
			_, err := loginOnce(t.Context(), a.Provider)
			switch {
			case err == nil:
				granted.Add(1)
			case ObstacleOf(err) == NotTried:
				if spared.Add(1) == 2*maxCalls-1 {
					close(answer) // all others are answered while the probe waits
				}
			default:
				t.Error(err)
			}
		})
	}
	group.Wait()
	if len(asked) != 1 || granted.Load() != 1 {
		t.Errorf("%d calls were made and %d granted, want one", len(asked), granted.Load())
	}
	a.works(t)
}

// None of these says that the provider is down, however often it comes.
func TestWhatDoesNotSayThatTheProviderIsDown(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"wrong keys":        refuses(401, 32),
		"the clock":         refuses(401, 135),
		"no Authorization":  refuses(400, 215),
		"unlisted callback": refuses(403, 415),
		"suspended":         refuses(401, 416),
		"no credits":        says(402, someWords),
		"not in this plan":  refuses(403, 453),
		"too many calls":    refuses(429, 88),
		"a redirect":        says(302, "", "Location", "/elsewhere"),
		"HTML":              says(200, "<html>"+someWords+"</html>"),
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t, map[string]http.HandlerFunc{requestToken: answer})
			for range 2 * maxFailures {
				loginOnce(t.Context(), a.Provider)
			}
			a.answer(requestToken, granted)
			a.works(t)
		})
	}
	t.Run("a success between failures", func(t *testing.T) {
		a := newAPI(t, nil)
		for range 3 {
			a.answer(requestToken, reset)
			for range maxFailures - 1 {
				a.fails(t, true)
			}
			a.answer(requestToken, granted)
			a.works(t)
		}
	})
	t.Run("visitors who leave", func(t *testing.T) {
		a := newAPI(t, nil)
		for range 2 * maxFailures {
			visitor, leave := context.WithCancel(t.Context())
			a.answer(requestToken, func(_ http.ResponseWriter, r *http.Request) { leave(); <-r.Context().Done() })
			_, err := loginOnce(visitor, a.Provider)
			leave()
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want context.Canceled", err)
			}
		}
		a.answer(requestToken, granted)
		a.works(t)
	})
	t.Run("visitors with less patience than we have", func(t *testing.T) {
		a := newAPI(t, nil)
		for range 2 * maxFailures {
			visitor, leave := context.WithTimeout(t.Context(), 10*time.Millisecond)
			_, err := loginOnce(visitor, a.Provider)
			leave()
			if ObstacleOf(err) != TimedOut {
				t.Errorf("got %v, want it to have waited", err)
			}
		}
		a.answer(requestToken, granted)
		a.works(t)
	})
	t.Run("a crowd before the 64 places", func(t *testing.T) {
		a := newAPI(t, map[string]http.HandlerFunc{requestToken: granted})
		for range maxCalls {
			a.Provider.calls <- struct{}{}
		}
		a.Timeout = 10 * time.Millisecond
		for range 2 * maxFailures {
			if _, err := loginOnce(t.Context(), a.Provider); ObstacleOf(err) != TimedOut {
				t.Fatalf("got %v, want it to have waited", err)
			}
		}
		a.Timeout = 20 * time.Second
		<-a.Provider.calls
		a.works(t)
	})
}

// Who probes and leaves has found out nothing: after the pause another probes.
func TestAProbeThatLeavesIsFollowedByAnother(t *testing.T) {
	a := newAPI(t, map[string]http.HandlerFunc{requestToken: reset})
	for range maxFailures {
		a.fails(t, true)
	}
	a.advance(pause)
	visitor, leave := context.WithCancel(t.Context())
	a.answer(requestToken, func(_ http.ResponseWriter, r *http.Request) { leave(); <-r.Context().Done() })
	if _, err := loginOnce(visitor, a.Provider); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	a.answer(requestToken, granted)
	a.fails(t, false)
	a.advance(pause)
	a.works(t)
}

// Login with X has been down for days while the API answered; and a token has
// to be ended even when it takes a while.
func TestTheAPIIsNoneOfTheBreakersBusiness(t *testing.T) {
	a := newAPI(t, map[string]http.HandlerFunc{requestToken: granted, endToken: refuses(503, 130), usersMe: reset, verify: reset})
	for range 2 * maxFailures {
		a.Revoke(t.Context(), ada)
		a.Profile(t.Context(), ada, "42")
		a.advance(time.Minute) // profiles rest as long
	}
	a.works(t)

	a.answer(requestToken, refuses(503, 130))
	for range maxFailures {
		a.fails(t, true)
	}
	a.answer(endToken, says(200, "{}"))
	if err := a.Revoke(t.Context(), ada); err != nil {
		t.Errorf("the API while sign-in is down: %v", err)
	}
	a.fails(t, false)

	// The second call of a sign-in is one of a sign-in.
	config := a.config(&guard{Provider: a.Provider, visitor: t.Context(), call: "access_token"})
	if _, _, err := config.AccessToken("token", "secret", "verifier"); ObstacleOf(err) != NotTried {
		t.Errorf("access_token: got %v, want it not to be tried", err)
	}
}
