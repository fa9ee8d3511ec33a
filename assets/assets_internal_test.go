package assets

import (
	"path"
	"testing"
)

// What can be packed is, a file that is new as well: pack names them.
func TestEveryTextIsPacked(t *testing.T) {
	for url, a := range byURL {
		if path.Ext(url) != ".png" && (a.brotli == nil || a.gzip == nil) {
			t.Errorf("%s goes out as it is: is it in assets/pack, and was 'go tool task generate' run?", url)
		}
	}
}

// Who changes a file and runs Perch sees the change, though it is not packed.
func TestAChangedFileGoesOutAsItIs(t *testing.T) {
	const changed = "/* larger */ body { font-size: 200% }"
	packed, a := load("app.css", "text/css"), keep("app.css", "text/css", []byte(changed))
	t.Cleanup(func() { delete(byURL, a.URL) })
	if string(a.plain) != changed || a.brotli != nil || a.gzip != nil || a.URL == packed.URL {
		t.Errorf("it is %q under %s, with brotli %v, gzip %v", a.plain, a.URL, a.brotli != nil, a.gzip != nil)
	}
	if packed.brotli == nil || packed.gzip == nil {
		t.Error("the one that was packed goes out unpacked")
	}
}
