package e2e

import (
	"testing"

	"github.com/chromedp/chromedp"

	"perch/internal/testdb"
)

func TestEndingAnotherDevice(t *testing.T) {
	t.Parallel()
	withAndWithoutScripts(t, func(t *testing.T, b *tab) {
		b.visit("/")
		b.signIn(account(t, "suzume"))
		other := b.p.browse()
		other.visit("/")
		other.signIn(account(t, "suzume"))

		b.visit("/account")
		b.until("two devices", "document.querySelectorAll('#devices li').length === 2")
		before := b.navigated()
		b.click("#devices li button")
		b.until("one device", "document.querySelectorAll('#devices li').length === 1 && document.querySelector('#devices li').innerText.includes('this one')")
		b.untilTold("That browser was signed out.")
		if !b.scriptless && b.navigated() != before {
			t.Errorf("the page was loaded %d times, want the list swapped in place", b.navigated()-before)
		}

		other.visit("/")
		other.untilGreeted("")
		b.visit("/")
		b.untilGreeted("suzume")
	})
}

func TestRefreshingTheProfile(t *testing.T) {
	t.Parallel()
	withAndWithoutScripts(t, func(t *testing.T, b *tab) {
		b.visit("/")
		b.signIn(account(t, "goldcrest_wings"))
		await(t, "the profile to arrive", func() bool {
			b.visit("/account")
			return ask[bool](b, "!!document.querySelector('#profile img.avatar')")
		})
		b.until("the picture to be shown, from here", "document.querySelector('#profile img').naturalWidth > 0 && document.querySelector('#profile img').src.startsWith(location.origin + '/avatar/')")
		b.until("the name", "document.querySelector('#profile').innerText.includes('Wilhelmina Featherstonehaugh-Goldcrest of Greatham')")

		before := b.navigated()
		b.click("#profile button")
		b.untilTold("That was refreshed just now. Please wait a minute.")
		b.untilAt("/account")
		if !b.scriptless && b.navigated() != before {
			t.Errorf("the page was loaded %d times, want the card swapped in place", b.navigated()-before)
		}

		b.p.forgetWhenProfilesWereAsked()
		b.visit("/account")
		b.click("#profile button")
		b.untilTold("This is how X shows you now.")
		b.untilGreeted("goldcrest_wings")
	})
}

func TestAskingBeforeWhatCannotBeTakenBack(t *testing.T) {
	t.Parallel()
	for link, says := range map[string]string{
		"/account/delete":     "Your data is deleted.",
		"/account/disconnect": "You are disconnected. X has ended this site's access.",
	} {
		t.Run("with scripts, "+link, func(t *testing.T) {
			b := start(t).browse()
			b.visit("/")
			b.signIn(account(t, "robin"))
			b.visit("/account")
			before := b.navigated()
			selector := "main a[href='" + link + "']"
			b.click(selector)
			b.until("the dialog, with the focus on what does no harm", "document.querySelector('dialog[open]') && document.activeElement.matches('dialog .keep')")
			b.click("dialog .keep")
			b.until("the dialog to close", "!document.querySelector('dialog[open]')")
			b.click(selector)
			b.until("the dialog", "document.querySelector('dialog[open]')")
			b.do("pressing Escape", chromedp.KeyEvent("\x1b"))
			b.until("the dialog to close", "!document.querySelector('dialog[open]')")
			if got := b.navigated() - before; got != 0 {
				t.Errorf("asking loaded %d pages, want none", got)
			}
			b.click(selector)
			b.until("the dialog", "document.querySelector('dialog[open]')")
			b.click("dialog form button")
			b.untilAt("/")
			b.untilGreeted("")
			b.untilTold(says)
		})
		t.Run("without scripts, "+link, func(t *testing.T) {
			b := start(t).browse().withoutScripts()
			b.visit("/")
			b.signIn(account(t, "robin"))
			b.visit("/account")
			b.click("main a[href='" + link + "']")
			b.untilAt(link)
			b.click("main .keep")
			b.untilAt("/account")
			b.click("main a[href='" + link + "']")
			b.untilAt(link)
			b.click("main form button")
			b.untilAt("/")
			b.untilGreeted("")
			b.untilTold(says)
		})
	}
}

func TestAnotherAccount(t *testing.T) {
	t.Parallel()
	b := start(t).browse()
	b.visit("/account")
	b.choose(account(t, "robin"))
	b.untilAt("/account")
	b.click("#profile a[href*=force_login]")
	b.choose(account(t, "Bulbul"))
	b.untilAt("/account")
	b.untilGreeted("Bulbul")
}

// A person takes the application's access away at X, and learns of it here.
func TestAccessTakenAwayAtX(t *testing.T) {
	t.Parallel()
	b := start(t).browse()
	b.visit("/")
	b.signIn(account(t, "robin"))
	await(t, "the profile to arrive", func() bool {
		b.visit("/account")
		return ask[bool](b, "!!document.querySelector('#profile img.avatar')")
	})
	b.visit(b.p.sandboxURL + "/sandbox/apps")
	b.click("form button")
	b.until("nothing to be connected", "!document.querySelector('form button')")

	b.p.forgetWhenProfilesWereAsked()
	b.visit("/account")
	b.click("#profile button")
	b.untilAt("/")
	b.untilGreeted("")
	b.untilTold("X no longer accepts this sign-in. Please sign in again. Try again")
}

func TestDownloadingTheData(t *testing.T) {
	t.Parallel()
	b := start(t).browse()
	b.visit("/account")
	b.choose(account(t, "robin"))
	b.untilAt("/account")
	got, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](
		"fetch(document.querySelector('a[download]').href).then(async (r) => r.headers.get('Content-Disposition') + ' ' + (await r.json()).screen_name)",
		chromedp.EvalAwaitPromise))
	if want := `attachment; filename="perch-account.json" robin`; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

// forgetWhenProfilesWereAsked lets the minute pass that has to lie between two
// refreshes.
func (p *perch) forgetWhenProfilesWereAsked() {
	p.Helper()
	testdb.Exec(p, p.env["DATABASE_URL"], `UPDATE accounts SET profile_at = 0`)
}
