package metrics

import "github.com/prometheus/client_golang/prometheus"

// Transaction is what exactly-once delivery exports beside the intake's series.
type Transaction struct {
	Ended     *prometheus.CounterVec // result
	Seconds   prometheus.Histogram
	Records   prometheus.Histogram
	Again     prometheus.Counter
	Reconnect prometheus.Counter
}

// The values of the label result of transactions.
const (
	TransactionCommitted = "committed"
	TransactionAborted   = "aborted"
	TransactionUnknown   = "unknown" // the broker did not say how it ended; its offsets do
)

// NewTransaction registers the series of exactly-once delivery.
func NewTransaction(reg prometheus.Registerer) *Transaction {
	return &Transaction{
		Ended: counters(reg, "millrace_transactions_total",
			"Transactions, by result: committed, aborted or unknown.", "result"),
		Seconds: register(reg, prometheus.NewHistogram(histogram("millrace_transaction_seconds",
			"Seconds from the first record of a transaction to its end.", seconds()))),
		Records: register(reg, prometheus.NewHistogram(histogram("millrace_transaction_records",
			"Requests in one transaction.", []float64{1, 4, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192}))),
		Again: counter(reg, "millrace_answers_republished_total",
			"Answers of an aborted transaction that were published in another, without a second inference."),
		Reconnect: counter(reg, "millrace_transaction_reconnects_total",
			"Times that a lane took a new client, because how its transaction ended was not known or its id was of no use any more."),
	}
}
