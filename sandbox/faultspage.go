package sandbox

import (
	"math"
	"net/http"
	"strconv"
)

// showFaults shows what goes wrong on purpose.
func (p *pages) showFaults(w http.ResponseWriter, r *http.Request) (string, error) {
	return "listed", p.faultsPage(w, r, http.StatusOK, "")
}

func (p *pages) faultsPage(w http.ResponseWriter, r *http.Request, status int, problem string) error {
	props := faultsProps{CSRF: csrf(w, r, pagesCookie), Kinds: p.FaultKinds(), On: p.Faults(), Problem: problem}
	return draw(w, r, status, toolPolicy, faultsPage(props))
}

// changeFaults is what the page's forms send: one more fault, or none at all.
func (p *pages) changeFaults(w http.ResponseWriter, r *http.Request) (string, error) {
	if err := p.readForm(r); err != nil {
		return "", err
	}
	switch r.PostForm.Get("action") {
	case "clear":
		p.ClearFaults()
	case "add":
		fault, ok := faultOf(r)
		if !ok {
			return "refused", p.faultsPage(w, r, http.StatusUnprocessableEntity, "Numbers, please: from 1 to 1000 requests, and whole seconds.")
		}
		if err := p.AddFault(fault); err != nil {
			return "refused", p.faultsPage(w, r, http.StatusUnprocessableEntity, "That cannot be: "+err.Error()+".")
		}
	default:
		return "", errPagesGarbled
	}
	w.Header().Set("Location", "/sandbox/faults")
	w.WriteHeader(http.StatusSeeOther)
	return "changed", nil
}

// faultOf reads the form; false when a number in it is none.
func faultOf(r *http.Request) (Fault, bool) {
	f := Fault{Kind: r.PostForm.Get("kind"), Endpoint: r.PostForm.Get("endpoint")}
	var ok bool
	if f.Seconds, ok = number(r.PostForm.Get("seconds"), math.MinInt32, math.MaxInt32); !ok && r.PostForm.Get("seconds") != "" {
		return Fault{}, false
	}
	switch r.PostForm.Get("last") {
	case "one":
		f.Times = 1
	case "some":
		if f.Times, ok = number(r.PostForm.Get("times"), 1, 1000); !ok {
			return Fault{}, false
		}
	case "cleared":
	default:
		return Fault{}, false
	}
	_, known := endpointOf(f.Endpoint)
	return f, f.Endpoint == "" || known
}

func number(s string, from, to int) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && from <= n && n <= to
}
