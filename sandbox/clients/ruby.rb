# Sign in with Twitter in Ruby, against the sandbox:  ruby ruby.rb oauth|omniauth-twitter
#
# Each method is a quick start of its own: the library as it comes, but for the base URL. At X, take TWITTER_API_URL=https://api.x.com and
# send a person's browser where `browse` goes; the sandbox, started with --auto-approve, lets that person in without a browser.

require "json"
require "net/http"
require "rack"

TWITTER = ENV.fetch("TWITTER_API_URL", "http://127.0.0.1:8081")
KEY = ENV.fetch("TWITTER_CONSUMER_KEY")
SECRET = ENV.fetch("TWITTER_CONSUMER_SECRET")
CALLBACK = URI(ENV.fetch("CALLBACK_URL")) # the one that is registered, and no other

# What the person's browser does: follow the link to Twitter, and come back to the callback.
def browse(link)
  answer = Net::HTTP.get_response(URI(link))
  URI(answer["Location"] || abort(answer.body))
end

def oauth
  require "oauth"

  twitter = OAuth::Consumer.new(KEY, SECRET, site: TWITTER, authorize_path: "/oauth/authenticate")
  request = twitter.get_request_token(oauth_callback: CALLBACK.to_s)
  back = URI.decode_www_form(browse(request.authorize_url).query).to_h
  access = request.get_access_token(oauth_verifier: back["oauth_verifier"])

  me = access.get("/2/users/me?user.fields=name,profile_image_url")
  abort me.body unless me.is_a? Net::HTTPOK
  [access.params["screen_name"], JSON.parse(me.body)["data"]["id"]]
end

def omniauth_twitter
  require "omniauth-twitter"
  OmniAuth.config.logger = Logger.new(nil)
  OmniAuth.config.on_failure = proc { |env| raise env["omniauth.error"] }
  OmniAuth.config.allowed_request_methods = [:get] # in your application leave it at POST

  app = Rack::Builder.app do
    use Rack::Session::Cookie, secret: "only for this test " * 4
    use OmniAuth::Builder do
      provider :twitter, KEY, SECRET, client_options: { site: TWITTER }
    end
    run lambda { |env|
      who = env["omniauth.auth"]
      abort who.extra.raw_info.to_json if who.extra.raw_info["errors"]
      [200, {}, ["#{who.info.nickname} #{who.uid}"]]
    }
  end

  # A browser, who goes round once.
  browser = Rack::MockRequest.new(app)
  start = browser.get(URI.join(CALLBACK, "/auth/twitter").to_s)
  cookie = start["Set-Cookie"].split(";").first
  browser.get(browse(start["Location"]).to_s, "HTTP_COOKIE" => cookie).body.split
end

begin
  name, id = send(ARGV[0].tr("-", "_"))
  puts "@#{name} #{id}"
rescue OAuth::Unauthorized => e
  abort "#{e.message} #{e.request&.body}" # `request` is Twitter's answer, in spite of its name
end
