// Sign in with Twitter in Node, against the sandbox:  node node.mjs passport-twitter|twitter-api-v2|oauth-1.0a
//
// Each function is a quick start of its own: the library as it comes, but for the base URL. At X, take TWITTER_API_URL=https://api.x.com and
// send a person's browser where `browse` goes; the sandbox, started with --auto-approve, lets that person in without a browser.

const twitter = process.env.TWITTER_API_URL ?? 'http://127.0.0.1:8081';
const key = process.env.TWITTER_CONSUMER_KEY;
const secret = process.env.TWITTER_CONSUMER_SECRET;
const callback = new URL(process.env.CALLBACK_URL); // the one that is registered, and no other

// What the person's browser does: follow the link to Twitter, and come back to the callback.
async function browse(link, cookie = '') {
  const answer = await fetch(link, { redirect: 'manual', headers: { cookie } });
  if (!answer.headers.has('location')) throw new Error(await answer.text());
  return { back: new URL(answer.headers.get('location')), cookie: answer.headers.get('set-cookie')?.split(';')[0] };
}

const clients = {
  async 'oauth-1.0a'() {
    const { default: OAuth } = await import('oauth-1.0a');
    const { createHmac } = await import('node:crypto');

    const oauth = OAuth({
      consumer: { key, secret },
      signature_method: 'HMAC-SHA1',
      hash_function: (base, key) => createHmac('sha1', key).update(base).digest('base64'),
    });
    async function call(method, url, data, token) {
      const headers = oauth.toHeader(oauth.authorize({ method, url, data }, token));
      const answer = await fetch(url, { method, headers });
      if (!answer.ok) throw new Error(await answer.text());
      return answer;
    }
    const form = async (answer) => Object.fromEntries(new URLSearchParams(await answer.text()));
    const pair = (t) => ({ key: t.oauth_token, secret: t.oauth_token_secret });

    const request = await form(await call('POST', `${twitter}/oauth/request_token`, { oauth_callback: callback.href }));
    const { back } = await browse(`${twitter}/oauth/authenticate?oauth_token=${request.oauth_token}`);
    const oauth_verifier = back.searchParams.get('oauth_verifier');
    const access = await form(await call('POST', `${twitter}/oauth/access_token`, { oauth_verifier }, pair(request)));

    const me = await (await call('GET', `${twitter}/2/users/me?user.fields=name,profile_image_url`, {}, pair(access))).json();
    return [access.screen_name, me.data.id];
  },

  async 'twitter-api-v2'() {
    const { TwitterApi } = await import('twitter-api-v2');
    const { Agent } = await import('node:http');

    // This library knows one address only, and https only. A plugin writes another address before the call is signed, and a plain agent carries it.
    const sandbox = {
      httpAgent: new Agent(),
      plugins: [{
        onBeforeRequestConfig({ params }) {
          if (params.url.startsWith('https://api.x.com/oauth/')) params.forceParseMode = 'url'; // it knows form answers by their address
          params.url = params.url.replace('https://api.x.com', twitter);
        },
      }],
    };
    const app = new TwitterApi({ appKey: key, appSecret: secret }, sandbox);
    const link = await app.generateAuthLink(callback.href);
    const { back } = await browse(link.url.replace('https://api.x.com', twitter));

    const person = new TwitterApi({ appKey: key, appSecret: secret, accessToken: link.oauth_token, accessSecret: link.oauth_token_secret }, sandbox);
    const { client, userId } = await person.login(back.searchParams.get('oauth_verifier'));
    const me = await client.v1.verifyCredentials();
    return [me.screen_name, userId];
  },

  async 'passport-twitter'() {
    const { default: express } = await import('express');
    const { default: session } = await import('express-session');
    const { default: passport } = await import('passport');
    const { Strategy } = await import('passport-twitter');

    passport.use(new Strategy({
      consumerKey: key,
      consumerSecret: secret,
      callbackURL: callback.href,
      requestTokenURL: `${twitter}/oauth/request_token`,
      accessTokenURL: `${twitter}/oauth/access_token`,
      userAuthorizationURL: `${twitter}/oauth/authenticate`,
      userProfileURL: `${twitter}/1.1/account/verify_credentials.json`,
    }, (token, tokenSecret, profile, done) => done(null, profile)));

    const app = express();
    app.use(session({ secret: 'only for this test', resave: false, saveUninitialized: false }));
    app.get('/auth/twitter', passport.authenticate('twitter', { session: false }));
    app.get(callback.pathname, passport.authenticate('twitter', { session: false }), (req, res) => res.json([req.user.username, req.user.id]));
    app.use((err, req, res, next) => res.status(500).send(err.message));
    const server = app.listen(callback.port, callback.hostname);

    // A browser, who goes round once.
    try {
      await new Promise((listening) => server.once('listening', listening));
      const start = await browse(`${callback.origin}/auth/twitter`);
      const { back } = await browse(start.back);
      const end = await fetch(back, { headers: { cookie: start.cookie } });
      if (!end.ok) throw new Error(await end.text());
      return await end.json();
    } finally {
      server.closeAllConnections();
      server.close();
    }
  },
};

try {
  const [name, id] = await clients[process.argv[2]]();
  console.log(`@${name} ${id}`);
} catch (err) {
  console.log(err.message, JSON.stringify(err.data ?? ''));
  process.exitCode = 1;
}
