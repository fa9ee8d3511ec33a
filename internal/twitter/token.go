package twitter

import (
	"errors"
	"net/url"
)

// Identity is who signed in, as the provider says.
type Identity struct {
	UserID     string // decimal, 1 to 20 digits: the key of the person
	ScreenName string // without the @; it changes, and others use it again
}

// Token is an access token and its secret: with it, calls are signed on a
// person's behalf. It does not expire by itself.
type Token struct{ Token, Secret string }

// Marshal returns the pair as text, for UnmarshalToken.
func (t Token) Marshal() []byte {
	return []byte(url.Values{"oauth_token": {t.Token}, "oauth_token_secret": {t.Secret}}.Encode())
}

// UnmarshalToken reads what Marshal wrote.
func UnmarshalToken(text []byte) (Token, error) {
	values, err := url.ParseQuery(string(text))
	if err != nil || !values.Has("oauth_token") || !values.Has("oauth_token_secret") {
		return Token{}, errors.New("not an access token") // never the text: it is a secret
	}
	return Token{values.Get("oauth_token"), values.Get("oauth_token_secret")}, nil
}
