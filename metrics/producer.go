package metrics

import "github.com/prometheus/client_golang/prometheus"

// Producer is what the publishing of answers exports.
type Producer struct {
	Published     *prometheus.CounterVec // kind
	DeadLetters   *prometheus.CounterVec // code
	LettersLost   prometheus.Counter
	PublishErrors *prometheus.CounterVec // kind
	Buffered      prometheus.Gauge
}

// The values of the label kind.
const (
	KindResult     = "result"
	KindReply      = "reply"
	KindDeadLetter = "dead_letter"
)

// NewProducer registers the series of a producer.
func NewProducer(reg prometheus.Registerer) *Producer {
	return &Producer{
		Published: counters(reg, "millrace_published_records_total",
			"Records that the broker acknowledged, by kind: result, reply or dead_letter.", "kind"),
		DeadLetters: counters(reg, "millrace_dead_letters_total",
			"Requests written to the dead-letter topic, by error code.", "code"),
		LettersLost: counter(reg, "millrace_dead_letters_given_up_total",
			"Dead letters that are too large for their topic in the shortest form: the request is answered, and has none."),
		PublishErrors: counters(reg, "millrace_publish_errors_total",
			"Attempts to publish a record that the broker or the client refused, by kind.", "kind"),
		Buffered: gauge(reg, "millrace_publish_pending_records",
			"Records handed to the client that the broker has not acknowledged."),
	}
}

// Announce makes the dead letters of these codes at 0: an increase is not seen of
// a series that begins with it.
func (p *Producer) Announce(codes ...string) {
	for _, code := range codes {
		p.DeadLetters.WithLabelValues(code)
	}
}
