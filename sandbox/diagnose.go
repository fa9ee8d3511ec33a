package sandbox

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const (
	// maxDiagnosed bounds the base strings that are looked into, in bytes, and maxDiagnoses the diagnoses in a second: each tries some hundred signatures.
	maxDiagnosed = 16 << 10
	maxDiagnoses = 20
)

// diagnoses counts those of one second.
type diagnoses struct {
	second int64
	n      int
}

// diagnose finds out what the client did instead of RFC 5849 §3.4, by doing it again: every usual mistake in the base string with every one in the key, until
// the signature is the one that came. It says why, as the end of a sentence, and returns the base string that the client must have made, masked, or "".
func (s *Server) diagnose(r *http.Request, from [][]param, oauth map[string]string, tokenSecret string) (why, received string) {
	digest, spelling := readSignature(oauth["oauth_signature"])
	if len(digest) != sha1.Size {
		return spelling, ""
	}
	right := baseString(scheme(r), r, slices.Concat(from...))
	switch {
	case len(right) > maxDiagnosed:
		return "the call is too long to look for the reason", ""
	case !s.mayDiagnose():
		return "there are too many like it in this second to look for the reason", ""
	}

	seen := evidenceOf(r, from)
	shown := s.maskedEvidence(seen)
	mistakes := append([]mistake{{"", evidence.recipe}}, seen.mistakes()...)
	keys := s.keys(oauth["oauth_token"], tokenSecret)
	match := func(mistakes []mistake, keys []key) bool {
		for _, m := range mistakes {
			base := m.makes(seen).String()
			for _, k := range keys {
				mac := hmac.New(sha1.New, []byte(k.key))
				io.WriteString(mac, base)
				if hmac.Equal(mac.Sum(nil), digest) {
					says := slices.DeleteFunc([]string{spelling, m.says, k.says}, func(s string) bool { return s == "" })
					why, received = strings.Join(says, ", and "), cut(m.makes(shown).String(), maxCallBase)
					return true
				}
			}
		}
		return false
	}
	if match(mistakes[:1], keys) || match(mistakes[1:], keys[:1]) || match(mistakes[1:], keys[1:]) { // first what needs one mistake only
		return why, received
	}
	why = "none of the usual mistakes explains it, so most likely the consumer secret is another than this sandbox's"
	if oauth["oauth_token"] != "" {
		why += ", or the token secret another than this token's"
	}
	if spelling != "" {
		why = spelling + ", and " + why
	}
	return why, ""
}

// mayDiagnose tells whether there is time for one more, and counts it.
func (s *Server) mayDiagnose() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.opts.Now().Unix(); s.wrong.second != now {
		s.wrong = diagnoses{second: now}
	}
	s.wrong.n++
	return s.wrong.n <= maxDiagnoses
}

// readSignature returns the bytes of a signature in whatever spelling, and what is wrong with that; 20 bytes when it can be one of HMAC-SHA1.
func readSignature(signature string) (digest []byte, wrong string) {
	trimmed := strings.TrimSpace(signature)
	spaceless := strings.ReplaceAll(signature, " ", "+")
	unescaped, _ := url.PathUnescape(trimmed)
	for _, reading := range []struct {
		says, text string
		decode     func(string) ([]byte, error)
	}{
		{"oauth_signature is in hexadecimal, not in base64", trimmed, hex.DecodeString}, // which is base64 as well
		{"", signature, base64.StdEncoding.DecodeString},
		{"oauth_signature was sent without percent-encoding, so that its + arrived as a space", spaceless, base64.StdEncoding.DecodeString},
		{"", trimmed, base64.StdEncoding.DecodeString},
		{"oauth_signature is percent-encoded twice", unescaped, base64.StdEncoding.DecodeString},
		{"oauth_signature lacks its = at the end", trimmed, base64.RawStdEncoding.DecodeString},
		{"oauth_signature is in the URL alphabet of base64, with - and _ for + and /", trimmed, base64.URLEncoding.DecodeString},
		{"oauth_signature is in the URL alphabet of base64, with - and _ for + and /", trimmed, base64.RawURLEncoding.DecodeString},
	} {
		digest, err := reading.decode(reading.text)
		if err != nil || len(digest) < sha1.Size {
			continue
		}
		says := reading.says
		if trimmed != signature {
			says = cmp.Or(says, "oauth_signature has a line break or a space around it")
		}
		if inner, err := hex.DecodeString(string(digest)); err == nil && len(inner) == sha1.Size {
			return inner, "oauth_signature is base64 of the digest in hexadecimal, not of its bytes"
		}
		if len(digest) != sha1.Size {
			return digest, fmt.Sprintf("oauth_signature has %d bytes, where HMAC-SHA1 makes 20 and SHA-256 would make 32", len(digest))
		}
		return digest, says
	}
	return nil, "oauth_signature is not base64 of the 20 bytes that HMAC-SHA1 makes"
}

// key is a way to make the key of the signature (RFC 5849 §3.4.2); says is the mistake, and empty in the right one.
type key struct{ says, key string }

// keys are the right one and then the wrong ones, as far as they differ.
func (s *Server) keys(token, tokenSecret string) []key {
	consumer := s.opts.ConsumerSecret
	all := []key{
		{"", encode(consumer) + "&" + encode(tokenSecret)},
		{"the token secret is missing from the key", encode(consumer) + "&"},
		{"the & is missing from the key", encode(consumer) + encode(tokenSecret)},
		{"the secrets are not percent-encoded in the key", consumer + "&" + tokenSecret},
		{"the two secrets have changed places in the key", encode(tokenSecret) + "&" + encode(consumer)},
		{"the token stands in the key where its secret belongs", encode(consumer) + "&" + encode(token)},
		{"the consumer key stands in the signing key where the consumer secret belongs", encode(s.opts.ConsumerKey) + "&" + encode(tokenSecret)},
	}
	var different []key
	for _, k := range all {
		if !slices.ContainsFunc(different, func(d key) bool { return d.key == k.key }) {
			different = append(different, k)
		}
	}
	return different
}

// evidence is what came, for recipes to work on: as it came, or masked.
type evidence struct {
	r            *http.Request
	from         [][]param // header, query, body
	unsignedBody []param   // a body that is no form, read as one
	realm        string
	query        string // with its question mark, when there is one
}

func evidenceOf(r *http.Request, from [][]param) evidence {
	e := evidence{r: r, from: from}
	_, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	e.realm = realm(rest)
	if raw, _ := io.ReadAll(r.Body); len(from[2]) == 0 {
		e.unsignedBody, _ = parseForm(string(raw))
	}
	if r.URL.RawQuery != "" {
		e.query = "?" + r.URL.RawQuery
	}
	return e
}

// maskedEvidence is e as it may be shown.
func (s *Server) maskedEvidence(e evidence) evidence {
	e.from = s.maskAll(e.from)
	e.unsignedBody = slices.Clone(e.unsignedBody)
	for i, p := range e.unsignedBody {
		e.unsignedBody[i] = param{hide(p.name), hide(p.value)} // nobody knows what it is
	}
	if e.query != "" {
		e.query = "?" + s.maskQuery(e.query[1:])
	}
	return e
}

// realm finds the realm of an Authorization header, which parseHeader passes over.
func realm(rest string) string {
	for {
		m := headerPair.FindStringSubmatch(rest)
		if m == nil {
			return ""
		}
		if strings.EqualFold(m[1], "realm") {
			return m[2]
		}
		rest = rest[len(m[0]):]
	}
}

// recipe is a way to make a base string; evidence.recipe is the right one.
type recipe struct {
	method, origin, path string
	query                string // in the URL, where it does not belong
	params               []param
	unsorted             bool
	sortedFirst          bool                   // before they are encoded
	encode               func(p param) param    // names and values
	outer                [2]func(string) string // the URL, and the parameters when joined
}

// recipe is how it is done (RFC 5849 §3.4.1).
func (e evidence) recipe() recipe {
	host := strings.TrimSuffix(strings.ToLower(e.r.Host), map[string]string{"http": ":80", "https": ":443"}[scheme(e.r)])
	return recipe{
		method: strings.ToUpper(e.r.Method), origin: scheme(e.r) + "://" + host, path: e.r.URL.EscapedPath(),
		params: slices.DeleteFunc(slices.Concat(e.from...), func(p param) bool { return p.name == "oauth_signature" }),
		encode: each(encode), outer: [2]func(string) string{encode, encode},
	}
}

// String is the base string.
func (c recipe) String() string {
	byName := func(a, b param) int {
		return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.value, b.value))
	}
	params := slices.Clone(c.params)
	if c.sortedFirst {
		slices.SortStableFunc(params, byName)
	}
	for i, p := range params {
		params[i] = c.encode(p)
	}
	if !c.unsorted && !c.sortedFirst {
		slices.SortStableFunc(params, byName)
	}
	var joined []string
	for _, p := range params {
		joined = append(joined, p.name+"="+p.value)
	}
	return c.method + "&" + c.outer[0](c.origin+c.path+c.query) + "&" + c.outer[1](strings.Join(joined, "&"))
}

// each encodes name and value alike.
func each(encode func(string) string) func(param) param {
	return func(p param) param { return param{encode(p.name), encode(p.value)} }
}

// mistake is one that clients make: what it is, as the end of a sentence, and the base string that it makes of what came.
type mistake struct {
	says  string
	makes func(evidence) recipe
}

// mistakes are those that change something in this request.
func (e evidence) mistakes() []mistake {
	var all []mistake
	right := e.recipe().String()
	add := func(says string, spoil func(e evidence, c *recipe)) {
		makes := func(e evidence) recipe {
			c := e.recipe()
			spoil(e, &c)
			return c
		}
		if makes(e).String() != right {
			all = append(all, mistake{says, makes})
		}
	}
	e.parameterMistakes(add)
	e.encodingMistakes(add)
	e.urlMistakes(add)
	return all
}

type adder func(says string, spoil func(e evidence, c *recipe))

func (e evidence) parameterMistakes(add adder) {
	add("the parameters were sorted before they were encoded, not afterwards", func(_ evidence, c *recipe) { c.sortedFirst = true })
	add("the parameters are not sorted", func(_ evidence, c *recipe) { c.unsorted = true })
	for _, order := range [][3]int{{0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		add("the parameters are not sorted", func(e evidence, c *recipe) {
			c.unsorted = true
			e.from = [][]param{e.from[order[0]], e.from[order[1]], e.from[order[2]]}
			c.params = e.recipe().params
		})
	}
	add("the query's parameters are left out", func(e evidence, c *recipe) {
		c.params = evidence{r: e.r, from: [][]param{e.from[0], e.from[2]}}.recipe().params
	})
	add("the form's parameters are left out", func(e evidence, c *recipe) {
		c.params = evidence{r: e.r, from: e.from[:2]}.recipe().params
	})
	add("query and form are left out", func(e evidence, c *recipe) { c.params = evidence{r: e.r, from: e.from[:1]}.recipe().params })
	add("the body is signed, though it is not a form (its Content-Type is not application/x-www-form-urlencoded)", func(e evidence, c *recipe) {
		c.params = append(c.params, e.unsignedBody...)
	})
	add("oauth_signature itself is among the parameters", func(_ evidence, c *recipe) { c.params = append(c.params, param{"oauth_signature", ""}) })
	add("realm is among the parameters", func(e evidence, c *recipe) { c.params = append(c.params, param{"realm", e.realm}) })
	add("parameters with an empty value are left out", func(_ evidence, c *recipe) {
		c.params = slices.DeleteFunc(c.params, func(p param) bool { return p.value == "" })
	})
	add("of several parameters with one name only the last is there", func(_ evidence, c *recipe) { c.params = lastOfEach(c.params) })
	add("of several parameters with one name only the first is there", func(_ evidence, c *recipe) {
		slices.Reverse(c.params)
		c.params = lastOfEach(c.params)
	})
	names := map[string]bool{}
	for _, p := range e.recipe().params {
		if name := p.name; len(names) < 40 && !names[name] {
			names[name] = true
			add(cut(name, 60)+" was sent, but is not in the base string", func(_ evidence, c *recipe) {
				c.params = slices.DeleteFunc(c.params, func(p param) bool { return p.name == name })
			})
		}
	}
}

// lastOfEach keeps the last of several parameters with one name.
func lastOfEach(params []param) []param {
	var kept []param
	for i, p := range params {
		if !slices.ContainsFunc(params[i+1:], func(later param) bool { return later.name == p.name }) {
			kept = append(kept, p)
		}
	}
	return kept
}

func (e evidence) encodingMistakes(add adder) {
	encoder := func(says string, encode func(string) string) {
		add(says, func(_ evidence, c *recipe) { c.encode = each(encode) })
	}
	plain := func(s string) string { return s }
	replace := func(pairs ...string) func(string) string {
		r := strings.NewReplacer(pairs...)
		return func(s string) string { return r.Replace(encode(s)) }
	}
	const lower = "percent-encoding is in lower case (%2f); upper case is wanted (%2F)"
	encoder(lower, lowerHex)
	add(lower, func(_ evidence, c *recipe) { c.outer = [2]func(string) string{lowerHex, lowerHex} })
	add(lower, func(_ evidence, c *recipe) {
		c.encode, c.outer = each(lowerHex), [2]func(string) string{lowerHex, lowerHex}
	})
	encoder("a space is encoded as +; %20 is wanted", replace("%20", "+"))
	encoder("a space is encoded as + and ~ as %7E, as forms have it; %20 and ~ are wanted", replace("%20", "+", "~", "%7E"))
	encoder("a space is encoded as +, ~ as %7E and * not at all, as forms have it; %20, ~ and %2A are wanted", replace("%20", "+", "~", "%7E", "%2A", "*"))
	encoder("~ is encoded, as %7E; it stays as it is", replace("~", "%7E"))
	encoder("! ' ( ) * are not percent-encoded, as encodeURIComponent leaves them", replace("%21", "!", "%27", "'", "%28", "(", "%29", ")", "%2A", "*"))
	encoder("/ is not percent-encoded", replace("%2F", "/"))
	add("oauth_callback is encoded once; in the base string it is encoded twice", func(_ evidence, c *recipe) { c.encode = onlyCallback(plain) })
	add("oauth_callback is encoded once too often", func(_ evidence, c *recipe) {
		c.encode = onlyCallback(func(s string) string { return encode(encode(s)) })
	})
	encoder("names and values are encoded once; in the base string they are encoded twice", plain)
	add("values are encoded once too often", func(_ evidence, c *recipe) {
		c.encode = func(p param) param { return param{encode(p.name), encode(encode(p.value))} }
	})
	add("values are decoded twice", func(_ evidence, c *recipe) {
		c.encode = func(p param) param {
			again, err := url.QueryUnescape(p.value)
			if err != nil {
				again = p.value
			}
			return param{encode(p.name), encode(again)}
		}
	})
	add("URL and parameters are not percent-encoded as a whole", func(_ evidence, c *recipe) { c.outer = [2]func(string) string{plain, plain} })
	add("the URL is not percent-encoded", func(_ evidence, c *recipe) { c.outer[0] = plain })
	add("the joined parameters are not percent-encoded as a whole", func(_ evidence, c *recipe) { c.outer[1] = plain })
}

func onlyCallback(other func(string) string) func(param) param {
	return func(p param) param {
		if p.name == "oauth_callback" {
			return param{p.name, other(p.value)}
		}
		return param{encode(p.name), encode(p.value)}
	}
}

// lowerHex is encode with lower-case digits.
func lowerHex(s string) string {
	b := []byte(encode(s))
	for i := 0; i < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:], bytes.ToLower(b[i+1:i+3]))
			i += 2
		}
	}
	return string(b)
}

func (e evidence) urlMistakes(add adder) {
	right := e.recipe()
	origin := func(says, to string) { add(says, func(_ evidence, c *recipe) { c.origin = to }) }
	method := strings.ToLower(right.method)
	add("the method is in lower case", func(_ evidence, c *recipe) { c.method = method })
	for _, other := range []string{"GET", "POST"} {
		add("the method in it is "+other+", but "+right.method+" was sent", func(_ evidence, c *recipe) { c.method = other })
	}

	this, other, defaultPort := "http", "https", ":80"
	if scheme(e.r) == "https" {
		this, other, defaultPort = "https", "http", ":443"
	}
	host := strings.TrimPrefix(right.origin, this+"://")
	name, port := host, ""
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		name, port = host[:i], host[i:]
	}
	origin("the URL in it begins with "+other+", but the call came by "+this, other+"://"+host)
	origin("the URL in it begins with "+other+" and lacks the port, but the call came by "+this, other+"://"+name)
	origin("the port is missing from the URL", this+"://"+name)
	origin("the default port is in the URL; it is left out", this+"://"+host+defaultPort)
	origin("the host in the URL is not in lower case", this+"://"+e.r.Host)
	for _, there := range []string{"https://api.x.com", "https://api.twitter.com"} {
		origin("the URL in it is "+there+", but the call came here", there)
	}
	for _, loopback := range []string{"localhost", "127.0.0.1", "[::1]"} {
		if loopback != name {
			origin("the host in it is "+loopback+", but the call was sent to "+cut(name, 100), this+"://"+loopback+port)
		}
	}
	add("the path in it ends with a slash, and the call's does not", func(_ evidence, c *recipe) { c.path += "/" })
	add("the path in it is empty", func(_ evidence, c *recipe) { c.path = "" })
	add("the query is in the URL; it belongs among the parameters", func(e evidence, c *recipe) {
		c.params = evidence{r: e.r, from: [][]param{e.from[0], e.from[2]}}.recipe().params
		c.query = e.query
	})
	add("the query is in the URL as well as among the parameters", func(e evidence, c *recipe) { c.query = e.query })
}
