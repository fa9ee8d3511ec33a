package routes_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

const popupID = "3f1c9a52-popup"

// closing fails unless the answer leads to the page that closes the popup.
func (b *browser) closing(a *answer, next string) {
	b.t.Helper()
	page := b.follow(a.leads("/popup?" + url.Values{"id": {popupID}, "next": {next}}.Encode()))
	if page.StatusCode != http.StatusOK {
		b.t.Errorf("status %d", page.StatusCode)
	}
	b.closes(page, next)
}

// closes fails unless the page closes the popup: it knows which one it is, and
// where to go on without the page behind.
func (b *browser) closes(page *answer, next string) {
	b.t.Helper()
	popup := page.document().Find("#popup")
	if got := popup.AttrOr("data-popup", "") + " " + popup.AttrOr("data-next", ""); got != popupID+" "+next {
		b.t.Errorf("the popup's page knows %q, want %q", got, popupID+" "+next)
	}
	if got := popup.Find("a").AttrOr("href", ""); got != next {
		b.t.Errorf("the way on leads to %q, want %q", got, next)
	}
	if page.document().Find("#header").Length() > 0 {
		b.t.Error("the popup has a header: it would take the notices from the page behind")
	}
}

// A sign-in in a popup ends in the popup, and its notice waits for the page
// behind, which asks for the header.
func TestPopup(t *testing.T) {
	t.Parallel()
	k := start(t)
	tests := []struct {
		name string
		end  func(b *browser) *answer
		next string // where the popup goes on when nobody is behind
		who  string
		says string
	}{
		{"signed in", func(b *browser) *answer {
			return b.get(b.start("next=/account&popup=" + popupID).authorize("robin"))
		}, "/account", "@robin", "You were signed in as @robin"},
		{"denied", func(b *browser) *answer {
			return b.get(b.start("next=/account&popup=" + popupID).cancel())
		}, "/", nobody, deniedIt},
		{"failed at the end", func(b *browser) *answer {
			back := b.start("next=/?a=1&popup=" + popupID).authorize("robin")
			k.twitter.fail(accessToken, reset)
			defer k.twitter.fail(accessToken, nil)
			return b.get(back)
		}, "/?a=1", nobody, wordsFor["unreachable"]},
		{"failed at the start", func(b *browser) *answer {
			k.twitter.fail(requestToken, reset)
			defer k.twitter.fail(requestToken, nil)
			return b.get("/login?next=/account&popup=" + popupID)
		}, "/", nobody, wordsFor["unreachable"]},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := k.browser(t)
			b.closing(tt.end(b), tt.next)
			b.get("/header", b.htmx("/")...).shows(tt.who, tt.says)
			b.get("/").shows(tt.who)
		})
	}
	t.Run("a callback of no sign-in of this browser", func(t *testing.T) {
		b := k.browser(t)
		b.follow(b.get(k.callback("denied=unknown&popup="+popupID)).leads("/")).shows(nobody, foreign)
	})
}

// Nor is a popup the place to read that too many sign-ins were started.
func TestPopupThatMayNotStart(t *testing.T) {
	t.Parallel()
	k := start(t, func(s *setup) { s.loginRate = 1 })
	b := k.browser(t)
	b.get("/login")
	page := b.get("/login?next=/account&popup=" + popupID)
	if page.StatusCode != http.StatusTooManyRequests || page.Header.Get("Retry-After") != "60" {
		t.Errorf("status %d, Retry-After %q", page.StatusCode, page.Header.Get("Retry-After"))
	}
	b.closes(page, "/")
	b.get("/header", b.htmx("/")...).shows(nobody, "Too many sign-ins were started from your network. Please wait a minute and try again.")
	b.get("/").shows(nobody)
}

// The id comes from a script of ours, or from a stranger's link.
func TestPopupTakesPlainIDsOnly(t *testing.T) {
	t.Parallel()
	k := start(t)
	for _, id := range []string{"", "1234567", strings.Repeat("a", 65), "<script>alert(1)</script>", "12345678\n", "12345678 9", "//evil.example"} {
		t.Run(id, func(t *testing.T) {
			b := k.browser(t)
			b.get(b.start("next=/account&popup=" + url.QueryEscape(id)).authorize("robin")).leads("/account")
			b.get("/popup?next=/account&id=" + url.QueryEscape(id)).leads("/")
		})
	}
	t.Run("and no next that leads away", func(t *testing.T) {
		b := k.browser(t)
		for _, next := range []string{"//evil.example", "https://evil.example/", "javascript:alert(1)", "/popup?id=" + popupID, ""} {
			page := b.get("/popup?id=" + popupID + "&next=" + url.QueryEscape(next))
			if got := page.document().Find("#popup").AttrOr("data-next", "") + " " + page.document().Find("main a").AttrOr("href", ""); got != "/ /" {
				t.Errorf("next %q: the page leads to %q", next, got)
			}
		}
	})
}
