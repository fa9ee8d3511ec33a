// A module of its own: what the clients need is not what Perch needs.
module perch/sandbox/clients/go

go 1.26

require (
	github.com/dghubble/oauth1 v0.7.3
	github.com/mrjones/oauth v0.0.0-20190623134757-126b35219450
)
