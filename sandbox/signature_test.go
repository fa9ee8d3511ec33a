package sandbox

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/dghubble/oauth1"
)

// TestSignatureVectors are the published examples: what is on the wire, and what its signature must be.
func TestSignatureVectors(t *testing.T) {
	tests := []struct {
		name, scheme, wire          string
		consumerSecret, tokenSecret string
		want                        string
	}{
		{
			name: "RFC 5849 §1.2, temporary credentials", scheme: "https",
			wire: "POST /initiate HTTP/1.1\nHost: photos.example.net\n" +
				`Authorization: OAuth realm="Photos", oauth_consumer_key="dpf43f3p2l4k3l03", oauth_signature_method="HMAC-SHA1", ` +
				`oauth_timestamp="137131200", oauth_nonce="wIjqoS", oauth_callback="http%3A%2F%2Fprinter.example.com%2Fready", ` +
				`oauth_signature="74KNZJeDHnMBp0EMJ9ZHt%2FXKycU%3D"` + "\n\n",
			consumerSecret: "kd94hf93k423kf44",
			want:           "74KNZJeDHnMBp0EMJ9ZHt/XKycU=",
		},
		{
			name: "RFC 5849 §1.2, token credentials", scheme: "https",
			wire: "POST /token HTTP/1.1\nHost: photos.example.net:443\n" +
				`Authorization: OAuth realm="Photos", oauth_consumer_key="dpf43f3p2l4k3l03", oauth_token="hh5s93j4hdidpola", ` +
				`oauth_signature_method="HMAC-SHA1", oauth_timestamp="137131201", oauth_nonce="walatlh", oauth_verifier="hfdp7dh39dks9884", ` +
				`oauth_signature="gKgrFCywp7rO0OXSjdot%2FIHF7IU%3D"` + "\n\n",
			consumerSecret: "kd94hf93k423kf44", tokenSecret: "hdhd0244k9j7ao03",
			want: "gKgrFCywp7rO0OXSjdot/IHF7IU=",
		},
		{
			name: "RFC 5849 §1.2, photos", scheme: "http",
			wire: "GET /photos?file=vacation.jpg&size=original HTTP/1.1\nHost: PHOTOS.example.net:80\n" +
				`Authorization: OAuth realm="Photos", oauth_consumer_key="dpf43f3p2l4k3l03", oauth_token="nnch734d00sl2jdk", ` +
				`oauth_signature_method="HMAC-SHA1", oauth_timestamp="137131202", oauth_nonce="chapoH", ` +
				`oauth_signature="MdpQcU8iPSUjWoN%2FUDMsK2sui9I%3D"` + "\n\n",
			consumerSecret: "kd94hf93k423kf44", tokenSecret: "pfkkdhi9sl3r4s00",
			want: "MdpQcU8iPSUjWoN/UDMsK2sui9I=",
		},
		{
			name: "RFC 5849 §3.1, whose printed signature is an erratum", scheme: "http", wire: section31,
			consumerSecret: "j49sk3j29djd", tokenSecret: "dh893hdasih9",
			want: "r6/TJjbCOr97/+UU0NsvSne7s5g=",
		},
		{
			name: `X, "Creating a signature"`, scheme: "https",
			wire: "POST /1.1/statuses/update.json?include_entities=true HTTP/1.1\nHost: api.twitter.com\n" +
				"Content-Type: application/x-www-form-urlencoded\nContent-Length: 76\n" +
				`Authorization: OAuth oauth_consumer_key="xvz1evFS4wEEPTGEFPHBog", oauth_nonce="kYjzVBB8Y0ZFabxSWbWovY3uYSQ2pTgmZeNu2VS4cg", ` +
				`oauth_signature_method="HMAC-SHA1", oauth_timestamp="1318622958", ` +
				`oauth_token="370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb", oauth_version="1.0"` + "\n\n" +
				"status=Hello%20Ladies%20%2b%20Gentlemen%2c%20a%20signed%20OAuth%20request%21",
			consumerSecret: "kAcSOqF21Fu85e7zjz7ZN2U4ZRhfV3WpwPAoE3Z7kBw", tokenSecret: "LswwdoUaIvS8ltyTt5jkRh4J50vUPVVHtR2YPi5kE",
			want: "hCtSmYh+iHYCEqBWrE7C7hYmtUk=",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, params := received(t, tt.wire)
			if got := sign(baseString(tt.scheme, r, params), tt.consumerSecret, tt.tokenSecret); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// section31 is the request of RFC 5849 §3.1, of which §3.4.1.1 prints the base string.
const section31 = "POST /request?b5=%3D%253D&a3=a&c%40=&a2=r%20b HTTP/1.1\nHost: example.com\n" +
	"Content-Type: application/x-www-form-urlencoded\nContent-Length: 9\n" +
	`Authorization: OAuth realm="Example", oauth_consumer_key="9djdj82h48djs9d2", oauth_token="kkk9d7dh3k39sjv7", ` +
	`oauth_signature_method="HMAC-SHA1", oauth_timestamp="137131201", oauth_nonce="7d8f3e4a", ` +
	`oauth_signature="bYT5CMsGcbgUdFHObYMEfcx6bsw%3D"` + "\n\nc2&a3=2+q"

func TestBaseString(t *testing.T) {
	const none = "\n\n"
	tests := []struct{ name, wire, want string }{
		{
			"RFC 5849 §3.4.1.1", section31,
			"POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D%26c2%3D%26" +
				"oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1%26" +
				"oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7",
		},
		{"RFC 5849 §3.4.1.2, the path as it was sent", "GET /r%20v/X?id=123 HTTP/1.1\nHost: EXAMPLE.COM:80" + none, "GET&http%3A%2F%2Fexample.com%2Fr%2520v%2FX&id%3D123"},
		{"another port stays", "GET / HTTP/1.1\nHost: localhost:8080" + none, "GET&http%3A%2F%2Flocalhost%3A8080%2F&"},
		{"443 is not the default of http", "GET / HTTP/1.1\nHost: localhost:443" + none, "GET&http%3A%2F%2Flocalhost%3A443%2F&"},
		{"an IPv6 host", "GET / HTTP/1.1\nHost: [::1]:8081" + none, "GET&http%3A%2F%2F%5B%3A%3A1%5D%3A8081%2F&"},
		{"an IPv6 host and the default port", "GET / HTTP/1.1\nHost: [::1]:80" + none, "GET&http%3A%2F%2F%5B%3A%3A1%5D%2F&"},
		{"duplicates are sorted by value", "GET /?a=b&a=B&a=%C3%A4&a= HTTP/1.1\nHost: h" + none, "GET&http%3A%2F%2Fh%2F&a%3D%26a%3D%25C3%25A4%26a%3DB%26a%3Db"},
		{"names are sorted as encoded", "GET /?b=1&%C3%A4=2&a%2Fb=3&a=4 HTTP/1.1\nHost: h" + none, "GET&http%3A%2F%2Fh%2F&%25C3%25A4%3D2%26a%3D4%26a%252Fb%3D3%26b%3D1"},
		{"a form of another type is not signed", "POST / HTTP/1.1\nHost: h\nContent-Type: text/plain\nContent-Length: 3\n\na=b", "POST&http%3A%2F%2Fh%2F&"},
		{"a form with a charset is signed", "POST / HTTP/1.1\nHost: h\nContent-Type: Application/X-WWW-Form-Urlencoded;charset=UTF-8\nContent-Length: 3\n\na=b", "POST&http%3A%2F%2Fh%2F&a%3Db"},
		{"a realm in the query is an ordinary parameter", "GET /?realm=x HTTP/1.1\nHost: h" + none, "GET&http%3A%2F%2Fh%2F&realm%3Dx"},
		{"a plus is a space in a query, and itself in a header", "GET /?a=+ HTTP/1.1\nHost: h\nAuthorization: OAuth a=\"+\"" + none, "GET&http%3A%2F%2Fh%2F&a%3D%2520%26a%3D%252B"},
		{"another scheme of Authorization has no parameters", "GET / HTTP/1.1\nHost: h\nAuthorization: Bearer a=\"b\"" + none, "GET&http%3A%2F%2Fh%2F&"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, params := received(t, tt.wire)
			if got := baseString("http", r, params); got != tt.want {
				t.Errorf("got\n%s, want\n%s", got, tt.want)
			}
		})
	}
}

// received reads a request as the server would, and collects its parameters.
func received(t testing.TB, wire string) (*http.Request, []param) {
	t.Helper()
	head, body, _ := strings.Cut(wire, "\n\n")
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(head, "\n", "\r\n") + "\r\n\r\n" + body)))
	if err != nil {
		t.Fatal(err)
	}
	from, err := sources(r)
	if err != nil {
		t.Fatal(err)
	}
	return r, slices.Concat(from...)
}

// FuzzSignature has dghubble's client sign whatever comes, sends it over a wire, and expects the same signature from us.
func FuzzSignature(f *testing.F) {
	f.Add("/oauth/access_token", "user.fields", "a,b", "status", "Hello Ladies + Gentlemen!", "consumer", "token", false)
	f.Add("/r v/X%2F~\xff", "ä", "=&+% ", "", "\x00", "a&b", "%", true)
	f.Add("/a;b=c//d", "q", "", "q2", "\n", "", "", true)
	f.Fuzz(func(t *testing.T, path, queryName, queryValue, formName, formValue, consumerSecret, tokenSecret string, post bool) {
		if queryName == formName || strings.HasPrefix(queryName, "oauth_") || strings.HasPrefix(formName, "oauth_") {
			return // dghubble keeps one of each name only
		}
		target := url.URL{Scheme: "http", Host: "LocalHost:8081", Path: "/" + strings.TrimLeft(path, "/"), RawQuery: url.Values{queryName: {queryValue}}.Encode()}
		method, body := "GET", io.Reader(nil)
		if post {
			method, body = "POST", strings.NewReader(url.Values{formName: {formValue}}.Encode())
		}
		r, err := http.NewRequest(method, target.String(), body)
		if err != nil {
			return // no request to sign
		}
		if post {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}

		var wire bytes.Buffer
		config := &oauth1.Config{ConsumerKey: "key", Realm: `"q\"`, Noncer: oauth1.HexNoncer{}, Signer: encodingSigner{consumerSecret}}
		ctx := context.WithValue(t.Context(), oauth1.HTTPClient, &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: http.NoBody}, r.Write(&wire)
		})})
		if _, err := config.Client(ctx, oauth1.NewToken("token", tokenSecret)).Do(r); err != nil {
			t.Fatal(err)
		}

		got, err := http.ReadRequest(bufio.NewReader(&wire))
		if err != nil {
			t.Fatal(err)
		}
		from, err := sources(got)
		if err != nil {
			t.Fatal(err)
		}
		oauth, err := protocol(from)
		if err != nil {
			t.Fatal(err)
		}
		if right, again := baseString("http", got, slices.Concat(from...)), evidenceOf(got, from).recipe().String(); again != right {
			t.Errorf("the diagnosis takes %q for right, not %q", again, right)
		}
		if want := sign(baseString("http", got, slices.Concat(from...)), consumerSecret, tokenSecret); oauth["oauth_signature"] != want {
			t.Errorf("dghubble signed %q, we %q, for %s", oauth["oauth_signature"], want, baseString("http", got, slices.Concat(from...)))
		}
	})
}

// encodingSigner encodes the secrets (RFC 5849 §3.4.2), which dghubble's own signer leaves out.
type encodingSigner struct{ consumerSecret string }

func (s encodingSigner) Name() string { return "HMAC-SHA1" }

func (s encodingSigner) Sign(tokenSecret, message string) (string, error) {
	return (&oauth1.HMACSigner{ConsumerSecret: oauth1.PercentEncode(s.consumerSecret)}).Sign(oauth1.PercentEncode(tokenSecret), message)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// FuzzAuthorizationHeader: whatever stands in the header, the answer is a refusal in X's shape.
func FuzzAuthorizationHeader(f *testing.F) {
	k := newKit(f)
	f.Add(`OAuth oauth_consumer_key="a", oauth_nonce="b", oauth_signature="c%3D", oauth_signature_method="HMAC-SHA1", oauth_timestamp="1", oauth_version="1.0"`)
	f.Add(`OAuth realm="a\"b,c",oauth_token="%"`)
	f.Add(`oauth a="b",,`)
	f.Add(`OAuth ` + strings.Repeat(`a="b",`, 300))
	f.Add(k.request(f, signed{path: "/oauth/request_token", oauth: map[string]string{"oauth_signature": "c"}}).Header.Get("Authorization"))
	f.Fuzz(func(t *testing.T, header string) {
		for _, path := range []string{"/oauth/request_token", "/oauth/access_token", "/1.1/oauth/invalidate_token.json"} {
			r := k.request(t, signed{path: path})
			r.Header.Set("Authorization", header)
			if a := k.do(r); a.status != http.StatusBadRequest && a.status != http.StatusUnauthorized {
				t.Errorf("%s answered %d %s", path, a.status, a.body)
			}
		}
	})
}

// BenchmarkVerify is one signed call with a token, from the Host to the last byte of the answer, as the inspector sees it.
func BenchmarkVerify(b *testing.B) {
	k := newKit(b)
	pair := k.signIn(b, "12")
	r := k.request(b, signed{method: "GET", path: "/2/users/me?user.fields=name", tokenSecret: pair.Get("oauth_token_secret"),
		oauth: map[string]string{"oauth_token": pair.Get("oauth_token"), "oauth_nonce": "NONCE"}})
	from, err := sources(r)
	if err != nil {
		b.Fatal(err)
	}
	base, header := baseString("http", r, slices.Concat(from...)), r.Header.Get("Authorization")
	old, err := protocol(from)
	if err != nil {
		b.Fatal(err)
	}
	k.opts.Log = slog.New(slog.DiscardHandler)
	requests := make([]*http.Request, b.N)
	for i := range requests {
		nonce := strconv.Itoa(i)
		signature := sign(strings.Replace(base, "NONCE", nonce, 1), k.ConsumerSecret(), pair.Get("oauth_token_secret"))
		requests[i] = r.Clone(b.Context())
		requests[i].Header.Set("Authorization", strings.NewReplacer("NONCE", nonce, encode(old["oauth_signature"]), encode(signature)).Replace(header))
	}
	b.ReportAllocs()
	b.ResetTimer()
	for _, r := range requests {
		w := httptest.NewRecorder()
		if k.ServeHTTP(w, r); w.Code != http.StatusOK {
			b.Fatalf("answered %d %s", w.Code, w.Body)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}
