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
	"io"
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
	if err := errors.Join(os.RemoveAll(to), os.MkdirAll(to, 0o755)); err != nil {
		return err
	}
	var sums strings.Builder
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
		target := filepath.Join(to, name)
		if !bytes.Equal(short, content) {
			err = os.WriteFile(target, short, 0o644)
		}
		if err := errors.Join(err, write(target+".br", short, brotlied), write(target+".gz", short, gzipped)); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(to, "SHA256SUMS"), []byte(sums.String()), 0o644)
}

// write writes a file in a content coding.
func write(name string, content []byte, coded func(io.Writer) io.WriteCloser) error {
	var b bytes.Buffer
	w := coded(&b)
	_, err := w.Write(content)
	if err := errors.Join(err, w.Close()); err != nil {
		return err
	}
	return os.WriteFile(name, b.Bytes(), 0o644)
}

func brotlied(w io.Writer) io.WriteCloser {
	return brotli.NewWriterLevel(w, brotli.BestCompression)
}

func gzipped(w io.Writer) io.WriteCloser {
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		panic(err) // only for an unknown level
	}
	return z
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
