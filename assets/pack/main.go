// Pack makes of the stylesheets, scripts and pictures in its folder what
// browsers load: without comments, and compressed as far as it goes, which
// takes too long to be done at each start. `go tool task generate` runs it.
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/tdewolff/minify/v2"
	"github.com/tdewolff/minify/v2/css"
	"github.com/tdewolff/minify/v2/js"
)

func main() {
	if err := pack(".", "packed"); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

// pack empties the folder to and fills it with what the folder from has: each
// file that goes out shorter than its source, each compressed (.br, .gz), and
// in SHA256SUMS, as sha256sum writes it, of which sources that was made.
func pack(from, to string) error {
	var sources []string
	for _, pattern := range []string{"app.*", "icon.svg", "popup.js", "htmx/htmx.min.js"} {
		found, err := filepath.Glob(filepath.Join(from, pattern))
		if err != nil {
			return err
		}
		sources = append(sources, found...)
	}
	files := map[string][]byte{}
	var sums bytes.Buffer
	for _, source := range sources {
		content, err := os.ReadFile(source)
		if err != nil {
			return err
		}
		name := filepath.Base(source)
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(content), name)
		short, err := minified(name, content)
		if err != nil {
			return fmt.Errorf("%s: %w", source, err)
		}
		if !bytes.Equal(short, content) {
			files[name] = short
		}
		files[name+".br"], files[name+".gz"] = brotlied(short), gzipped(short)
	}
	files["SHA256SUMS"] = sums.Bytes()

	// Not before all is well: without this folder nothing compiles.
	if err := errors.Join(os.RemoveAll(to), os.MkdirAll(to, 0o755)); err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(to, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func brotlied(content []byte) []byte {
	var b bytes.Buffer
	w := brotli.NewWriterLevel(&b, brotli.BestCompression)
	w.Write(content)
	w.Close()
	return b.Bytes()
}

func gzipped(content []byte) []byte {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		panic(err) // only for an unknown level
	}
	w.Write(content)
	w.Close()
	return b.Bytes()
}

// minified takes the comments out, which are for those who read the source. A
// picture stays, and so does what is published as short as can be.
func minified(name string, content []byte) ([]byte, error) {
	if strings.HasSuffix(name, ".min.js") {
		return content, nil
	}
	m := minify.New()
	m.AddFunc(".css", css.Minify)
	m.AddFunc(".js", js.Minify)
	short, err := m.Bytes(filepath.Ext(name), content)
	if errors.Is(err, minify.ErrNotExist) {
		return content, nil
	}
	return short, err
}
