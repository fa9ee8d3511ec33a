package sandbox

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// part is a piece of a signature base string (RFC 5849 §3.4.1): the method, the URL, or one parameter.
type part struct {
	name  string
	raw   string // as it stands there; a parameter is encoded twice
	plain string // what it means; empty when that is the same
}

// partsOf takes a base string apart. It makes what it can of one that is none.
func partsOf(base string) []part {
	if base == "" {
		return nil
	}
	method, rest, _ := strings.Cut(base, "&")
	address, params, _ := strings.Cut(rest, "&")
	parts := []part{{"method", method, ""}, {"URL", address, decode(address)}}
	for raw := range strings.SplitSeq(params, "%26") {
		if raw == "" {
			continue
		}
		name, value, _ := strings.Cut(raw, "%3D")
		name = decode(decode(name))
		parts = append(parts, part{name, raw, name + " = " + decode(decode(value))})
	}
	return parts
}

// decode is the other way round from encode; what is not encoded stays.
func decode(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		return plain
	}
	return s
}

// row is one line of the comparison: a part on both sides, or on one of them.
type row struct {
	name           string
	want, got      side
	differs, first bool
}

// side is what one of the two signed there, with what differs in the middle.
type side struct {
	missing             bool
	before, mark, after string
	plain               string
}

// compare sets what the sandbox signs against what the client signed, part by part, and says in words where they first part ways: "" when they do not.
// Without received, which cannot always be found out, the rows tell what is expected.
func compare(expected, received string) (rows []row, words string) {
	want, got := partsOf(expected), partsOf(received)
	if received == "" {
		got = want
	}
	for len(want) > 0 || len(got) > 0 {
		var r row
		switch {
		case len(got) == 0 || len(want) > 0 && !named(got, want[0].name):
			r = row{name: want[0].name, want: side{mark: want[0].raw, plain: want[0].plain}, got: side{missing: true}, differs: true}
			want = want[1:]
		case len(want) == 0 || !named(want, got[0].name):
			r = row{name: got[0].name, want: side{missing: true}, got: side{mark: got[0].raw, plain: got[0].plain}, differs: true}
			got = got[1:]
		default:
			r = row{name: want[0].name, want: side{before: want[0].raw, plain: want[0].plain}}
			if want[0].raw != got[0].raw {
				r.differs = true
				r.want, r.got = apart(want[0], got[0])
			}
			want, got = want[1:], got[1:]
		}
		if r.differs && words == "" {
			r.first, words = true, inWords(r)
		}
		rows = append(rows, r)
	}
	return rows, words
}

func named(parts []part, name string) bool {
	return slices.ContainsFunc(parts, func(p part) bool { return p.name == name })
}

// unit is what must not be cut in two: a character, an encoded byte, or one that is encoded twice.
var unit = regexp.MustCompile(`(?s)%25[0-9A-Fa-f]{2}|%[0-9A-Fa-f]{2}|.`)

// apart marks the middle of two parts that begin and end alike.
func apart(want, got part) (side, side) {
	w, g := unit.FindAllString(want.raw, -1), unit.FindAllString(got.raw, -1)
	start := 0
	for start < min(len(w), len(g)) && w[start] == g[start] {
		start++
	}
	end := 0
	for end < min(len(w), len(g))-start && w[len(w)-1-end] == g[len(g)-1-end] {
		end++
	}
	cut := func(units []string, plain string) side {
		return side{before: strings.Join(units[:start], ""), mark: strings.Join(units[start:len(units)-end], ""), after: strings.Join(units[len(units)-end:], ""), plain: plain}
	}
	return cut(w, want.plain), cut(g, got.plain)
}

// inWords is the difference for those who do not see the mark.
func inWords(r row) string {
	name := clip(visible(r.name), maxShown)
	switch {
	case r.got.missing:
		return fmt.Sprintf("The first difference is %s: it belongs there, and the client left it out, or put it elsewhere.", name)
	case r.want.missing:
		return fmt.Sprintf("The first difference is %s: the client signed it, and it does not belong there.", name)
	}
	return fmt.Sprintf("The first difference is in %s, after %d characters: %s belongs there, and the client signed %s.",
		name, utf8.RuneCountInString(r.want.before), inQuotes(r.want.mark), inQuotes(r.got.mark))
}

func inQuotes(s string) string {
	if s == "" {
		return "nothing"
	}
	return "“" + clip(visible(s), 80) + "”"
}

// maxShown is how many characters of one value a page shows: a stranger's client may send a body full of it.
const maxShown = 2000

// clip cuts s to its first n characters, and says so.
func clip(s string, n int) string {
	if more := utf8.RuneCountInString(s) - n; more > 0 {
		return fmt.Sprintf("%s… (%d more characters)", string([]rune(s)[:n]), more)
	}
	return s
}

// clipStart cuts s to its last n characters.
func clipStart(s string, n int) string {
	if more := utf8.RuneCountInString(s) - n; more > 0 {
		return "…" + string([]rune(s)[more:])
	}
	return s
}

// visible is s with a sign for everything that has none of its own: control characters, spaces that are not a space, marks that turn the writing round, and
// bytes that are no text. In a signature each of them counts.
func visible(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, "⟨byte %02X⟩", s[i])
		case r < ' ':
			b.WriteRune('␀' + r)
		case r == 0x7F:
			b.WriteRune('␡')
		case !unicode.IsPrint(r):
			fmt.Fprintf(&b, "⟨U+%04X⟩", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
