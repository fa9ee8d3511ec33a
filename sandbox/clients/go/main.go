// Sign in with Twitter in Go, against the sandbox: go run . dghubble-oauth1|mrjones-oauth
//
// Each function is a quick start of its own: the library as it comes, but for the base URL. At X, take TWITTER_API_URL=https://api.x.com and
// send a person's browser where browse goes; the sandbox, started with --auto-approve, lets that person in without a browser.
package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/dghubble/oauth1"
	"github.com/mrjones/oauth"
)

var (
	twitter  = cmp.Or(os.Getenv("TWITTER_API_URL"), "http://127.0.0.1:8081")
	key      = os.Getenv("TWITTER_CONSUMER_KEY")
	secret   = os.Getenv("TWITTER_CONSUMER_SECRET")
	callback = os.Getenv("CALLBACK_URL") // the one that is registered, and no other
)

type person struct {
	ID         string `json:"id_str"`
	ScreenName string `json:"screen_name"`
}

func dghubble() (me person, err error) {
	config := oauth1.Config{
		ConsumerKey: key, ConsumerSecret: secret, CallbackURL: callback,
		Endpoint: oauth1.Endpoint{
			RequestTokenURL: twitter + "/oauth/request_token",
			AuthorizeURL:    twitter + "/oauth/authenticate",
			AccessTokenURL:  twitter + "/oauth/access_token",
		},
		Noncer: oauth1.HexNoncer{},
	}
	requestToken, requestSecret, err := config.RequestToken()
	if err != nil {
		return me, err
	}
	link, err := config.AuthorizationURL(requestToken)
	if err != nil {
		return me, err
	}
	back, err := browse(link.String())
	if err != nil {
		return me, err
	}
	accessToken, accessSecret, err := config.AccessToken(requestToken, requestSecret, back.Get("oauth_verifier"))
	if err != nil {
		return me, err
	}

	client := config.Client(oauth1.NoContext, oauth1.NewToken(accessToken, accessSecret))
	answer, err := client.Get(twitter + "/1.1/account/verify_credentials.json?skip_status=true")
	if err != nil {
		return me, err
	}
	return read(answer)
}

func mrjones() (me person, err error) {
	consumer := oauth.NewConsumer(key, secret, oauth.ServiceProvider{
		RequestTokenUrl:   twitter + "/oauth/request_token",
		AuthorizeTokenUrl: twitter + "/oauth/authenticate",
		AccessTokenUrl:    twitter + "/oauth/access_token",
		HttpMethod:        "POST",
	})
	request, link, err := consumer.GetRequestTokenAndUrl(callback)
	if err != nil {
		return me, err
	}
	back, err := browse(link)
	if err != nil {
		return me, err
	}
	access, err := consumer.AuthorizeToken(request, back.Get("oauth_verifier"))
	if err != nil {
		return me, err
	}

	client, err := consumer.MakeHttpClient(access)
	if err != nil {
		return me, err
	}
	answer, err := client.Get(twitter + "/1.1/account/verify_credentials.json?skip_status=true")
	if err != nil {
		return me, err
	}
	return read(answer)
}

// browse does what the person's browser does: follow the link to Twitter, and come back to the callback.
func browse(link string) (url.Values, error) {
	browser := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := browser.Get(link)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	back, err := answer.Location()
	if err != nil {
		return nil, err
	}
	return back.Query(), nil
}

func read(answer *http.Response) (me person, err error) {
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return me, err
	}
	if answer.StatusCode != http.StatusOK {
		return me, fmt.Errorf("%s: %s", answer.Status, body)
	}
	return me, json.Unmarshal(body, &me)
}

func main() {
	signIn := map[string]func() (person, error){"dghubble-oauth1": dghubble, "mrjones-oauth": mrjones}[os.Args[1]]
	me, err := signIn()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Printf("@%s %s\n", me.ScreenName, me.ID)
}
