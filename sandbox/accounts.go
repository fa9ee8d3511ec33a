package sandbox

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Account is a person at this Twitter.
type Account struct {
	ID         string `json:"id"`              // user_id: a 64-bit number in decimal; never changes
	ScreenName string `json:"screen_name"`     // the @handle without "@": [A-Za-z0-9_], at most 15 (X's limit); may change and be re-used
	Name       string `json:"name"`            // what is displayed: any text of 1 to 50 characters
	Email      string `json:"email,omitempty"` // told when verify_credentials is asked with include_email=true; may be empty
	State      string `json:"state,omitempty"` // "", "locked" or "suspended": an account with trouble consents, but access_token and all later calls are refused
}

// DemoAccounts returns people who between them try a page's nerves: names that are long, foreign, right to left, or look like markup, and identifiers no
// JavaScript number holds.
func DemoAccounts() []Account {
	return []Account{
		{ID: "2244994945", ScreenName: "robin", Name: "Robin Perch", Email: "robin@perch.example"},
		{ID: "12", ScreenName: "jenny_wren", Name: `Jenny "Wren" & <Co>`},
		{ID: "1700000000000000003", ScreenName: "goldcrest_wings", Name: "Wilhelmina Featherstonehaugh-Goldcrest of Greatham"},
		{ID: "1700000000000000004", ScreenName: "suzume", Name: "雀 すずめ", Email: "suzume@perch.example"},
		{ID: "18446744073709551615", ScreenName: "Bulbul", Name: "بلبل"},
	}
}

// maxAccounts bounds what AddAccount takes in.
const maxAccounts = 10_000

// Accounts returns the people here, in the order they came.
func (s *Server) Accounts() []Account {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.accounts)
}

// AddAccount takes in somebody new. The error is for the one who asked: what X would not have either, an ID or a screen name that is taken.
func (s *Server) AddAccount(a Account) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.add(a)
}

// ChangeAccount gives the account with a.ID everything else that a holds; its tokens stay. A screen name that somebody else has goes over to a, as when a
// name at X is given up and taken again, and the other gets one with a number.
func (s *Server) ChangeAccount(a Account) error {
	s.mu.Lock()
	defer s.mu.Unlock()

	known := s.account(a.ID)
	if known == nil {
		return fmt.Errorf("there is no account with ID %q", a.ID)
	}
	if err := a.check(); err != nil {
		return err
	}
	if other := s.named(a.ScreenName); other != nil && other != known {
		other.ScreenName = s.freeName(other.ScreenName)
	}
	*known = a
	return nil
}

// Rename gives the account with this ID another screen name, as people at X do; see ChangeAccount.
func (s *Server) Rename(id, name string) error {
	s.mu.Lock()
	known := s.account(id)
	a := Account{ID: id}
	if known != nil {
		a = *known
	}
	s.mu.Unlock()

	a.ScreenName = name
	if err := s.ChangeAccount(a); err != nil {
		return fmt.Errorf("renaming account %q: %w", id, err)
	}
	return nil
}

// Revoke ends the access token of the account with this ID, as a person does under "Connected apps": it then answers 401 with code 89, and the next sign-in
// asks again and brings a new pair. It is fine when there was none.
func (s *Server) Revoke(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pairs, id)
}

// add takes in an account that could exist at X, and is not here yet. Call it with mu held.
func (s *Server) add(a Account) error {
	if err := a.check(); err != nil {
		return err
	}
	switch {
	case s.account(a.ID) != nil:
		return fmt.Errorf("there are two accounts with ID %q", a.ID)
	case s.named(a.ScreenName) != nil:
		return fmt.Errorf("there are two accounts with the screen name %q", a.ScreenName)
	case len(s.accounts) >= maxAccounts:
		return fmt.Errorf("there are %d accounts already, and no room for more", maxAccounts)
	}
	s.accounts = append(s.accounts, a)
	return nil
}

var (
	accountID  = regexp.MustCompile(`^[1-9][0-9]{0,19}$`)
	screenName = regexp.MustCompile(`^[A-Za-z0-9_]{1,15}$`)
	email      = regexp.MustCompile(`^[^@\s]{1,64}@[^@\s]{1,190}$`)
)

// check says what no account at X has.
func (a Account) check() error {
	n := len([]rune(a.Name))
	switch {
	case !accountID.MatchString(a.ID):
		return fmt.Errorf("account ID %q is not a number of 1 to 20 digits", a.ID)
	case !screenName.MatchString(a.ScreenName):
		return fmt.Errorf("screen name %q is not 1 to 15 of A-Z, a-z, 0-9 and _", a.ScreenName)
	case n < 1 || n > 50:
		return fmt.Errorf("name %q has %d characters, not 1 to 50", a.Name, n)
	case a.Email != "" && !email.MatchString(a.Email):
		return fmt.Errorf("e-mail address %q is none", a.Email)
	case a.State != "" && a.State != "locked" && a.State != "suspended":
		return fmt.Errorf("state %q is neither locked nor suspended, nor empty", a.State)
	}
	return nil
}

// account finds one by ID; nil when there is none. Call it with mu held.
func (s *Server) account(id string) *Account {
	return s.someone(func(a Account) bool { return a.ID == id })
}

// named finds one by screen name, in any case, as at X; nil when there is none. Call it with mu held.
func (s *Server) named(name string) *Account {
	return s.someone(func(a Account) bool { return strings.EqualFold(a.ScreenName, name) })
}

func (s *Server) someone(is func(Account) bool) *Account {
	i := slices.IndexFunc(s.accounts, is)
	if i < 0 {
		return nil
	}
	return &s.accounts[i]
}

// freeName is name with the first number that nobody has. Call it with mu held.
func (s *Server) freeName(name string) string {
	for n := 2; ; n++ {
		suffix := "_" + strconv.Itoa(n)
		if free := name[:min(len(name), 15-len(suffix))] + suffix; s.named(free) == nil {
			return free
		}
	}
}
