package sandbox

import (
	"crypto/rand"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// showAccounts lists the people at this Twitter.
func (p *pages) showAccounts(w http.ResponseWriter, r *http.Request) (string, error) {
	return "listed", p.accountsPage(w, r, http.StatusOK, "")
}

func (p *pages) accountsPage(w http.ResponseWriter, r *http.Request, status int, problem string) error {
	props := accountsProps{CSRF: csrf(w, r, pagesCookie), Accounts: p.Accounts(), Connected: map[string]bool{}, Changed: r.URL.Query().Get("changed"), Problem: problem}
	for _, a := range p.connected() {
		props.Connected[a.ID] = true
	}
	return draw(w, r, status, toolPolicy, accountsPage(props))
}

// changeAccounts is what the page's forms send.
func (p *pages) changeAccounts(w http.ResponseWriter, r *http.Request) (string, error) {
	if err := p.readForm(r); err != nil {
		return "", err
	}
	id, err := p.changeAccount(r.PostForm)
	if err == errPagesGarbled {
		return "", err
	}
	if err != nil {
		return "refused", p.accountsPage(w, r, http.StatusUnprocessableEntity, "That cannot be: "+err.Error()+".")
	}
	w.Header().Set("Location", "/sandbox/accounts?changed="+url.QueryEscape(id))
	w.WriteHeader(http.StatusSeeOther)
	return "changed", nil
}

// changeAccount does what the form asks, and returns the ID of whom it was about.
func (p *pages) changeAccount(form url.Values) (id string, err error) {
	action := form.Get("action")
	if action == "add" {
		a := withNames(form, Account{ID: strings.TrimSpace(form.Get("id"))})
		if a.ID == "" {
			a.ID = newID()
		}
		return a.ID, p.AddAccount(a)
	}
	all := p.Accounts()
	i := slices.IndexFunc(all, func(a Account) bool { return a.ID == form.Get("id") })
	if i < 0 {
		return "", errPagesGarbled
	}
	a := all[i]
	switch action {
	case "save":
		a = withNames(form, a)
	case "lock":
		a.State = "locked"
	case "suspend":
		a.State = "suspended"
	case "restore":
		a.State = ""
	case "revoke":
		p.Revoke(a.ID)
		return a.ID, nil
	default:
		return "", errPagesGarbled
	}
	return a.ID, p.ChangeAccount(a)
}

// withNames is the account as the form has it.
func withNames(form url.Values, a Account) Account {
	a.ScreenName = strings.TrimPrefix(strings.TrimSpace(form.Get("screen_name")), "@")
	a.Name = strings.TrimSpace(form.Get("name"))
	a.Email = strings.TrimSpace(form.Get("email"))
	return a
}

// newID is like those that X gives out today: more digits than a JavaScript number holds.
func newID() string {
	n, err := rand.Int(rand.Reader, big.NewInt(1e15))
	if err != nil {
		panic(err) // crypto/rand never fails
	}
	return fmt.Sprintf("1800%015d", n)
}
