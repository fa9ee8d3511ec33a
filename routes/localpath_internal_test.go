package routes

import (
	"net/url"
	"strings"
	"testing"
)

func TestLocalPath(t *testing.T) {
	long := strings.Repeat("a", maxNext)
	tests := []struct{ name, next, want string }{
		{"home", "/", "/"},
		{"a path", "/account", "/account"},
		{"a path and a query", "/account?x=1&y=2", "/account?x=1&y=2"},
		{"an empty query", "/account?", "/account?"},
		{"a path that ends in a slash", "/a/b/", "/a/b/"},
		{"a query with slashes", "/?to=https://example.com//x", "/?to=https://example.com//x"},
		{"a query with dots", "/?file=../../etc/passwd", "/?file=../../etc/passwd"},
		{"an encoded space", "/a%20b?c+d%20e", "/a%20b?c+d%20e"},
		{"an encoded slash", "/a%2fb", "/a%2fb"},
		{"an encoded percent", "/100%25", "/100%25"},
		{"a name that begins with a dot", "/.well-known/x", "/.well-known/x"},
		{"three dots", "/.../x", "/.../x"},
		{"a colon", "/a:b", "/a:b"},
		{"a colon in the first segment", "/http:x", "/http:x"},
		{"an at sign", "/@robin", "/@robin"},
		{"a semicolon", "/a;b=c", "/a;b=c"},
		{"names like those of our routes", "/logins", "/logins"},
		{"a route of ours, below", "/login/x", "/login/x"},
		{"a route of ours, in other case", "/LOGIN", "/LOGIN"},
		{"letters that are not ASCII", "/café?q=雀", "/caf%C3%A9?q=%E9%9B%80"},
		{"the same, encoded", "/caf%C3%A9", "/caf%C3%A9"},
		{"2048 bytes", "/" + long[:maxNext-1], "/" + long[:maxNext-1]},
		{"a fragment is dropped", "/account?x=1#top", "/account?x=1"},
		{"a fragment alone", "/#//evil.example", "/"},

		{"2049 bytes", "/" + long, "/"},
		{"nothing", "", "/"},
		{"no slash", "account", "/"},
		{"a query alone", "?x=1", "/"},
		{"a space in front", " /account", "/"},
		{"a scheme", "https://evil.example/", "/"},
		{"a scheme in other case", "HTTPS://evil.example/", "/"},
		{"a script", "javascript:alert(1)", "/"},
		{"a scheme and no slashes", "https:evil.example", "/"},
		{"two slashes", "//evil.example", "/"},
		{"two slashes alone", "//", "/"},
		{"two slashes and a query", "//?x", "/"},
		{"three slashes", "///evil.example", "/"},
		{"four slashes", "////evil.example", "/"},
		{"two slashes and a user", "//user@evil.example", "/"},
		{"two slashes inside", "/a//b", "/"},
		{"two slashes at the end", "/a//", "/"},
		{"two encoded slashes", "/%2f%2fevil.example", "/"},
		{"a slash and an encoded one", "/%2Fevil.example", "/"},
		{"encoded slashes inside", "/a%2f%2fb", "/"},
		{"a backslash", `/\evil.example`, "/"},
		{"a backslash first", `\\evil.example`, "/"},
		{"a backslash inside", `/a\b`, "/"},
		{"a backslash in the query", `/?a=\`, "/"},
		{"an encoded backslash", "/%5cevil.example", "/"},
		{"an encoded backslash in capitals", "/%5Cevil.example", "/"},
		{"a dot segment", "/./account", "/"},
		{"a dot segment at the end", "/a/.", "/"},
		{"two dots", "/../account", "/"},
		{"two dots at the end", "/a/..", "/"},
		{"two dots that make two slashes", "/a/..//evil.example", "/"},
		{"encoded dots", "/%2e%2e/account", "/"},
		{"half encoded dots", "/.%2E/account", "/"},
		{"one encoded dot", "/%2e", "/"},
		{"dots behind an encoded slash", "/a%2f..%2fb", "/"},
		{"a tab", "/\t/evil.example", "/"},
		{"a tab at the end", "/account\t", "/"},
		{"a line feed", "/\n/evil.example", "/"},
		{"a carriage return", "/account\r\nSet-Cookie: a=b", "/"},
		{"NUL", "/\x00", "/"},
		{"DEL", "/\x7f", "/"},
		{"a space", "/a b", "/"},
		{"a space in the query", "/?a b", "/"},
		{"an encoded line feed", "/a%0ab", "/"},
		{"an encoded tab", "/%09/evil.example", "/"},
		{"an encoded NUL", "/%00", "/"},
		{"an encoded DEL", "/%7f", "/"},
		{"bad encoding", "/%zz", "/"},
		{"half an encoding", "/a%2", "/"},
		{"sign-in itself", "/login", "/"},
		{"sign-in with a next", "/login?next=/login", "/"},
		{"sign-out", "/logout", "/"},
		{"the way back", "/oauth-authorized?oauth_token=a&oauth_verifier=b", "/"},
		{"the header", "/header", "/"},
		{"the end of a popup", "/popup?id=12345678", "/"},
		{"sign-in, encoded", "/%6cogin", "/"},
		{"sign-in, encoded whole", "/%6c%6f%67%69%6e?next=/", "/"},
		{"sign-out, encoded", "/log%6Fut", "/"},
		{"the way back, encoded", "/oauth%2Dauthorized", "/"},
		{"the header, with a fragment", "/header#x", "/"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := localPath(tt.next); got != tt.want {
				t.Errorf("localPath(%.80q) = %.80q, want %.80q", tt.next, got, tt.want)
			}
		})
	}
}

// FuzzNext shows that no next leads off the site, whoever reads it.
func FuzzNext(f *testing.F) {
	for _, seed := range []string{"/", "/account?x=1", "//", "//evil.example", `/\evil.example`, "/%5cevil.example", "/%2f%2fevil.example", "/\t/evil.example",
		"https://evil.example", "/a/..//evil.example", "/%2e%2e//x", "/@evil.example", "/:@evil.example", "/#//x", "/?#", "/café?é#é", "/\xff?\xfe", "/%6cogin", "/;//x", "/%252f%252fevil.example"} {
		f.Add(seed)
	}
	base, err := url.Parse("https://perch.example")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, next string) {
		got := localPath(next)
		if !strings.HasPrefix(got, "/") || strings.HasPrefix(got, "//") || strings.ContainsFunc(got, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' || r == '#' }) {
			t.Fatalf("localPath(%q) = %q", next, got)
		}
		u, err := base.Parse(got)
		if err != nil || u.Scheme != base.Scheme || u.Host != base.Host || u.User != nil {
			t.Fatalf("localPath(%q) = %q, which leads to %v (%v)", next, got, u, err)
		}
		switch u.Path {
		case "/login", "/logout", "/oauth-authorized", "/header", "/popup":
			t.Fatalf("localPath(%q) = %q, where nobody can return to", next, got)
		}
		if again := localPath(got); len(got) <= maxNext && again != got {
			t.Fatalf("localPath(%q) = %q, and of that %q", next, got, again)
		}
	})
}
