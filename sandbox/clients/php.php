<?php
// Sign in with Twitter in PHP, against the sandbox:  php php.php pecl-oauth
//
// The extension as it comes (Debian: php-oauth). At X, take TWITTER_API_URL=https://api.x.com and send a person's browser where `browse` goes;
// the sandbox, started with --auto-approve, lets that person in without a browser.

$twitter = getenv('TWITTER_API_URL') ?: 'http://127.0.0.1:8081';
$callback = getenv('CALLBACK_URL'); // the one that is registered, and no other

// What the person's browser does: follow the link to Twitter, and come back to the callback.
function browse(string $link): array
{
    $headers = get_headers($link, true, stream_context_create(['http' => ['follow_location' => 0]]));
    parse_str(parse_url($headers['Location'], PHP_URL_QUERY), $query);
    return $query;
}

try {
    $oauth = new OAuth(getenv('TWITTER_CONSUMER_KEY'), getenv('TWITTER_CONSUMER_SECRET'));
    $request = $oauth->getRequestToken("$twitter/oauth/request_token", $callback, OAUTH_HTTP_METHOD_POST);
    $back = browse("$twitter/oauth/authenticate?oauth_token=" . $request['oauth_token']);

    $oauth->setToken($request['oauth_token'], $request['oauth_token_secret']);
    $access = $oauth->getAccessToken("$twitter/oauth/access_token", null, $back['oauth_verifier'], OAUTH_HTTP_METHOD_POST);

    $oauth->setToken($access['oauth_token'], $access['oauth_token_secret']);
    $oauth->fetch("$twitter/1.1/account/verify_credentials.json", ['skip_status' => 'true'], OAUTH_HTTP_METHOD_GET);
    $me = json_decode($oauth->getLastResponse());
    echo "@$me->screen_name {$access['user_id']}\n";
} catch (OAuthException $e) {
    echo $e->getMessage(), ' ', $e->lastResponse, "\n";
    exit(1);
}
