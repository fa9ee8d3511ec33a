package sandbox

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

const (
	maxBody   = 64 << 10
	maxParams = 256
)

// param is one parameter of a request, decoded.
type param struct{ name, value string }

// sources returns the parameters of r that are signed (RFC 5849 §3.4.1.3.1) and oauth_signature, by where they came from: Authorization header, query, body.
// It reads the body, of at most maxBody bytes, and leaves it there to be read again.
func sources(r *http.Request) ([][]param, error) {
	// Two headers of one name are one list (RFC 9110 §5.2), and a second "OAuth" in it is refused.
	header, err := parseHeader(strings.Join(r.Header.Values("Authorization"), ", "))
	if err != nil {
		return nil, err
	}
	query, err := parseForm(r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(r.Body)
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, errLarge
	}
	if err != nil {
		return nil, errBadData("The body broke off.")
	}
	r.Body = io.NopCloser(bytes.NewReader(raw))
	var body []param
	// An unreadable Content-Type is not a form's, and so has nothing signed in it.
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && kind == "application/x-www-form-urlencoded" {
		if body, err = parseForm(string(raw)); err != nil {
			return nil, err
		}
	}
	if len(header)+len(query)+len(body) > maxParams {
		return nil, errBadData("There are more than 256 parameters.")
	}
	return [][]param{header, query, body}, nil
}

// headerPair matches the next name="value" of a header, up to its comma; a quoted realm may hold commas and escaped quotes of its own.
var headerPair = regexp.MustCompile(`^[ \t]*([^\s=",]+)="((?:[^"\\]|\\.)*)"[ \t]*(?:,|$)`)

// parseHeader reads an Authorization header of the scheme OAuth, in any case, without its realm (RFC 5849 §3.5.1). Any other scheme has no parameters for us.
func parseHeader(header string) ([]param, error) {
	scheme, rest, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "OAuth") {
		return nil, nil
	}
	var params []param
	for strings.TrimSpace(rest) != "" && len(params) <= maxParams {
		m := headerPair.FindStringSubmatch(rest)
		if m == nil {
			return nil, errBadData(`The Authorization header is not a list of name="value", with commas between them.`)
		}
		rest = rest[len(m[0]):]
		if strings.EqualFold(m[1], "realm") {
			continue
		}
		name, err1 := url.PathUnescape(m[1])
		value, err2 := url.PathUnescape(m[2])
		if err1 != nil || err2 != nil {
			return nil, errBadData("A % in the Authorization header is not followed by two hexadecimal digits.")
		}
		params = append(params, param{name, value})
	}
	return params, nil
}

// parseForm reads a query or a form body, "+" for space, keeping duplicates and names without a value.
func parseForm(encoded string) ([]param, error) {
	var params []param
	for pair := range strings.SplitSeq(encoded, "&") {
		if pair == "" {
			continue
		}
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, err1 := url.QueryUnescape(rawName)
		value, err2 := url.QueryUnescape(rawValue)
		if err1 != nil || err2 != nil {
			return nil, errBadData("A % in query or body is not followed by two hexadecimal digits.")
		}
		params = append(params, param{name, value})
		if len(params) > maxParams {
			break // sources will refuse them
		}
	}
	return params, nil
}

// sign returns the HMAC-SHA1 signature of a base string (RFC 5849 §3.4.2), in base64. tokenSecret is empty while there is no token.
func sign(base, consumerSecret, tokenSecret string) string {
	mac := hmac.New(sha1.New, []byte(encode(consumerSecret)+"&"+encode(tokenSecret)))
	mac.Write([]byte(base))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// scheme is how r came, as its signature must have it.
func scheme(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	return "http"
}

// baseString returns what is signed (RFC 5849 §3.4.1): method, URL and parameters of r, which came over scheme.
func baseString(scheme string, r *http.Request, params []param) string {
	host := strings.ToLower(r.Host)
	switch scheme { // §3.4.1.2: the default port is left out
	case "http":
		host = strings.TrimSuffix(host, ":80")
	case "https":
		host = strings.TrimSuffix(host, ":443")
	}
	return strings.ToUpper(r.Method) + "&" + encode(scheme+"://"+host+r.URL.EscapedPath()) + "&" + encode(normalize(params))
}

// normalize sorts and joins parameters (RFC 5849 §3.4.1.3.2): encoded first, then by name, then by value, byte by byte.
func normalize(params []param) string {
	encoded := make([]param, 0, len(params))
	for _, p := range params {
		if p.name != "oauth_signature" {
			encoded = append(encoded, param{encode(p.name), encode(p.value)})
		}
	}
	slices.SortFunc(encoded, func(a, b param) int {
		return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.value, b.value))
	})
	var b strings.Builder
	for i, p := range encoded {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.name + "=" + p.value)
	}
	return b.String()
}

// encode percent-encodes every byte of s that is not unreserved, in upper-case hex (RFC 5849 §3.6).
func encode(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~':
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}
