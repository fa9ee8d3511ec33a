package sandbox

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"path"
	"strings"
)

// The control API: JSON over HTTP, for tests in other languages. It needs no signature; the lock on the Host header holds here too, and what changes
// something refuses other sites' pages, so that a page on the web cannot play with the sandbox of whoever reads it.

// controlIndex says what there is.
func (s *Server) controlIndex(w http.ResponseWriter, r *http.Request) (string, error) {
	return "The control API was shown.", answerJSON(w, map[string]any{
		"consumer_key": s.opts.ConsumerKey,
		"callbacks":    orEmpty(s.opts.Callbacks),
		"accounts":     s.Accounts(),
		"faults":       orEmpty(s.Faults()),
		"fault_kinds":  s.FaultKinds(),
		"endpoints":    Endpoints(scheme(r) + "://" + r.Host),
		"control": map[string]string{
			"GET /_sandbox/":              "this",
			"GET /_sandbox/faults":        "the faults that are still to come",
			"POST /_sandbox/faults":       `have something go wrong: {"kind":"slow","endpoint":"access_token","times":1,"seconds":5}`,
			"DELETE /_sandbox/faults":     "have everything go right again",
			"GET /_sandbox/calls":         "the last 200 calls, the newest last",
			"GET /_sandbox/accounts":      "the people here",
			"POST /_sandbox/accounts":     `take in somebody new: {"id":"7","screen_name":"wren","name":"Jenny Wren"}`,
			"PATCH /_sandbox/accounts/ID": `change what is given: {"screen_name":"winter_wren","state":"locked"}`,
			"DELETE /_sandbox/tokens/ID":  "take the application's access to this account away",
			"POST /_sandbox/reset":        "put everything back to how it was at the start",
		},
	})
}

func (s *Server) controlFaults(w http.ResponseWriter, _ *http.Request) (string, error) {
	return "The faults were shown.", answerJSON(w, orEmpty(s.Faults()))
}

func (s *Server) controlAddFault(w http.ResponseWriter, r *http.Request) (string, error) {
	var f Fault
	if err := s.order(r, &f); err != nil {
		return "", err
	}
	if err := s.AddFault(f); err != nil {
		return "", refuseOrder(http.StatusBadRequest, err.Error())
	}
	return "The fault " + f.Kind + " was added.", answerJSON(w, s.Faults())
}

func (s *Server) controlClearFaults(w http.ResponseWriter, r *http.Request) (string, error) {
	if err := s.order(r, nil); err != nil {
		return "", err
	}
	s.ClearFaults()
	return "The faults were cleared.", done(w)
}

func (s *Server) controlCalls(w http.ResponseWriter, _ *http.Request) (string, error) {
	return "The calls were shown.", answerJSON(w, orEmpty(s.Calls()))
}

func (s *Server) controlAccounts(w http.ResponseWriter, _ *http.Request) (string, error) {
	return "The accounts were shown.", answerJSON(w, s.Accounts())
}

func (s *Server) controlAddAccount(w http.ResponseWriter, r *http.Request) (string, error) {
	var a Account
	if err := s.order(r, &a); err != nil {
		return "", err
	}
	if err := s.AddAccount(a); err != nil {
		return "", refuseOrder(http.StatusBadRequest, err.Error())
	}
	return "The account @" + a.ScreenName + " was added.", answerJSON(w, a)
}

func (s *Server) controlChangeAccount(w http.ResponseWriter, r *http.Request) (string, error) {
	a, err := s.ordered(r)
	if err != nil {
		return "", err
	}
	id := a.ID
	if err := s.order(r, &a); err != nil { // what is not in it stays
		return "", err
	}
	if a.ID != id {
		return "", refuseOrder(http.StatusBadRequest, "the ID of an account never changes")
	}
	if err := s.ChangeAccount(a); err != nil {
		return "", refuseOrder(http.StatusBadRequest, err.Error())
	}
	return "The account @" + a.ScreenName + " was changed.", answerJSON(w, a)
}

func (s *Server) controlRevoke(w http.ResponseWriter, r *http.Request) (string, error) {
	if err := s.order(r, nil); err != nil {
		return "", err
	}
	a, err := s.ordered(r)
	if err != nil {
		return "", err
	}
	s.Revoke(a.ID)
	return "Access to @" + a.ScreenName + " was taken away.", done(w)
}

func (s *Server) controlReset(w http.ResponseWriter, r *http.Request) (string, error) {
	if err := s.order(r, nil); err != nil {
		return "", err
	}
	return "Everything is as it was at the start.", errors.Join(s.Reset(), done(w))
}

// order reads what is to be done into what, unless that is nil. It refuses what a page of another site can send: by what the browser says of its origin, and
// because such a page cannot send JSON without asking first.
func (s *Server) order(r *http.Request, what any) error {
	if s.crossOrigin.Check(r) != nil {
		return refuseOrder(http.StatusForbidden, "this came from a page of another origin")
	}
	if what == nil {
		return nil
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
		return refuseOrder(http.StatusUnsupportedMediaType, "the Content-Type must be application/json")
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(what); err != nil {
		return refuseOrder(http.StatusBadRequest, "the body is not the JSON that belongs here: "+strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return refuseOrder(http.StatusBadRequest, "something follows the JSON in the body")
	}
	return nil
}

// ordered is the account that the path names.
func (s *Server) ordered(r *http.Request) (Account, error) {
	id := path.Base(r.URL.Path)
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.account(id); a != nil {
		return *a, nil
	}
	return Account{}, refuseOrder(http.StatusNotFound, "there is no account with ID "+quoted(id))
}

// refuseOrder says in a sentence what is wrong with an order.
func refuseOrder(status int, sentence string) *refusal {
	sentence = strings.ToUpper(sentence[:1]) + sentence[1:] + "."
	body, _ := json.Marshal(map[string]string{"error": sentence}) // a map of strings marshals always
	return &refusal{status: status, kind: kindJSON, body: string(body), reason: sentence}
}

// done answers that there is nothing to say.
func done(w http.ResponseWriter) error {
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// orEmpty is a list that JSON writes as one, even when it is empty.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
