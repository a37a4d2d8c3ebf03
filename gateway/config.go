package gateway

import (
	"errors"
	"fmt"
	"time"

	"github.com/millrace/millrace/gateway/auth"
	"github.com/millrace/millrace/internal/admin"
	"github.com/millrace/millrace/internal/kafka"
)

// largestBody is well below what the client writes at once.
const largestBody = 64 << 20

// The deliveries.
const (
	atLeastOnce = "at-least-once"
	exactlyOnce = "exactly-once"
	queue       = "queue" // by a share group
)

// Config is what an operator sets.
type Config struct {
	Addr           string        `env:"GATEWAY_ADDR" envDefault:":8000" help:"Host and port to listen on."`
	GRPCAddr       string        `env:"GATEWAY_GRPC_ADDR" envDefault:":8081" help:"Host and port to listen on for the Open Inference Protocol over gRPC; none: it is not served."`
	RequestTopic   string        `env:"TOPIC_REQUESTS" envDefault:"inference.requests" help:"Topic that requests are published to."`
	Routes         kafka.Routes  `env:"ROUTES" help:"What the workers are told: the lag of these topics is exported too."`
	ReplyTopic     string        `env:"TOPIC_REPLIES" envDefault:"inference.replies" help:"Topic that answers are awaited on."`
	CancelTopic    string        `env:"TOPIC_CANCELLATIONS" envDefault:"inference.cancellations" help:"Requests whose caller went away are named here; none: they are run all the same."`
	CardTopic      string        `env:"TOPIC_CARDS" envDefault:"inference.cards" help:"What the workers serve is told to the gateways here, compacted; none: models are not described."`
	ReplyPartition int32         `env:"GATEWAY_REPLY_PARTITION" envDefault:"-1" help:"Partition of the reply topic; -1 picks one at random."`
	Timeout        time.Duration `env:"GATEWAY_TIMEOUT" envDefault:"30s" help:"Deadline of a request that names none."`
	MaxTimeout     time.Duration `env:"GATEWAY_MAX_TIMEOUT" envDefault:"2m" help:"Longest deadline that a request may name; a longer one is cut to it."`
	PublishTimeout time.Duration `env:"GATEWAY_PUBLISH_TIMEOUT" envDefault:"5s" help:"How long the broker may take to acknowledge a request."`
	ReadTimeout    time.Duration `env:"GATEWAY_READ_TIMEOUT" envDefault:"30s" help:"How long a client may take to send its request."`
	DrainTimeout   time.Duration `env:"GATEWAY_DRAIN_TIMEOUT" envDefault:"20s" help:"How long waiting requests may go on after a stop."`
	MaxBodyBytes   int64         `env:"GATEWAY_MAX_BODY_BYTES" envDefault:"1048576" help:"Largest body in bytes."`
	Group          string        `env:"GROUP" envDefault:"millrace" help:"Consumer group whose lag is exported."`
	Delivery       string        `env:"DELIVERY" envDefault:"at-least-once" help:"What the workers are told: in queue the group is a share group, whose lag the broker counts."`
	LagInterval    time.Duration `env:"GROUP_LAG_INTERVAL" envDefault:"10s" help:"Time between two readings of the group's lag."`
	Pages          bool          `env:"GATEWAY_PAGES" envDefault:"true" help:"Serve the pages / and /docs, which show the pool and let a browser try its models."`

	Admission AdmissionConfig
	Access    AccessConfig
	Async     AsyncConfig
	Auth      auth.Config
	TLS       admin.TLSConfig
}

// Validate names every setting that cannot be worked with, those of its parts
// included.
func (c *Config) Validate() error {
	var errs []error
	refuse := func(bad bool, name, why string) {
		if bad {
			errs = append(errs, fmt.Errorf("MILLRACE_%s: %s", name, why))
		}
	}
	refuse(c.Addr == "", "GATEWAY_ADDR", "must not be empty")
	refuse(c.RequestTopic == "", "TOPIC_REQUESTS", "must not be empty")
	refuse(c.ReplyTopic == "", "TOPIC_REPLIES", "must not be empty")
	refuse(c.Async.Topic == "" || c.Async.Topic == c.RequestTopic || c.Async.Topic == c.ReplyTopic, "TOPIC_PREDICTIONS", "must be a topic of its own, or none")
	refuse(c.ReplyTopic == c.RequestTopic, "TOPIC_REPLIES", "must not be the topic of the requests")
	refuse(c.ReplyPartition < -1, "GATEWAY_REPLY_PARTITION", "must be a partition, or -1")
	refuse(c.Timeout <= 0, "GATEWAY_TIMEOUT", "must be above 0")
	refuse(c.MaxTimeout < c.Timeout, "GATEWAY_MAX_TIMEOUT", "must not be below GATEWAY_TIMEOUT")
	refuse(c.PublishTimeout < time.Second, "GATEWAY_PUBLISH_TIMEOUT", "must be at least 1s")
	refuse(c.ReadTimeout <= 0, "GATEWAY_READ_TIMEOUT", "must be above 0")
	refuse(c.DrainTimeout <= 0, "GATEWAY_DRAIN_TIMEOUT", "must be above 0")
	refuse(c.MaxBodyBytes < 1 || c.MaxBodyBytes > largestBody, "GATEWAY_MAX_BODY_BYTES", "must be 1 to 67108864")
	refuse(c.Group == "", "GROUP", "must not be empty")
	refuse(c.Delivery != atLeastOnce && c.Delivery != exactlyOnce && c.Delivery != queue, "DELIVERY", "must be at-least-once, exactly-once or queue")
	refuse(c.LagInterval < time.Second, "GROUP_LAG_INTERVAL", "must be at least 1s")
	return errors.Join(append(errs, c.Admission.Validate(), c.Access.Validate(), c.Async.Validate(), c.Auth.Validate(), c.TLS.Validate())...)
}
