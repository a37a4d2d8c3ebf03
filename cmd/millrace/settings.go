package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"github.com/millrace/millrace/announce"
	"github.com/millrace/millrace/consumer"
	"github.com/millrace/millrace/gateway"
	"github.com/millrace/millrace/internal/kafka"
	"github.com/millrace/millrace/model/follow"
	"github.com/millrace/millrace/model/mlflow"
	"github.com/millrace/millrace/model/remote"
	"github.com/millrace/millrace/producer"
	"github.com/millrace/millrace/shadow"
	"github.com/millrace/millrace/sharegroup"
	"github.com/millrace/millrace/split"
	"github.com/millrace/millrace/tracing/otlp"
	"github.com/millrace/millrace/transaction"
	"github.com/millrace/millrace/worker"
)

// logConfig is how a process that serves writes its log.
type logConfig struct {
	Format string     `env:"LOG_FORMAT" envDefault:"text" help:"Form of the log's lines on standard error: text or json."`
	Level  slog.Level `env:"LOG_LEVEL" envDefault:"INFO" help:"Least level that is logged: DEBUG, INFO, WARN or ERROR."`
}

// Validate reports a mistake with the variable that holds it.
func (c logConfig) Validate() error {
	if c.Format != "text" && c.Format != "json" {
		return fmt.Errorf("MILLRACE_LOG_FORMAT: %q is neither text nor json", c.Format)
	}
	return nil
}

// poolConfig is what a worker is about: which models, and where it shows how
// it is.
type poolConfig struct {
	Models    []modelRef `env:"MODEL" help:"Reference of the model to serve: models:/name@alias, models:/name/3, runs:/id/path, a folder, bundled, or one served elsewhere: v2+http://host:port/model[/version] or mlflow+http://host:port, https likewise. Several are separated by commas, the first is for requests that name none; name=reference gives a model another name."`
	Delivery  string     `env:"DELIVERY" envDefault:"at-least-once" help:"What is promised: at-least-once (no request is lost, some are answered twice after a crash), exactly-once (transactions: under read_committed one answer and one commit, or neither) or queue (a share group: workers may outnumber partitions, and there is no order)."`
	AdminAddr string     `env:"ADMIN_ADDR" envDefault:":8001" help:"Host and port of the worker's probes, metrics and /models."`
}

// Validate reports every mistake, each with the variable that holds it.
func (c poolConfig) Validate() error {
	var errs []error
	if len(c.Models) == 0 {
		errs = append(errs, errors.New("MILLRACE_MODEL: name the model to serve, such as models:/name@alias, a folder, or bundled"))
	}
	if c.Delivery != atLeastOnce && c.Delivery != exactlyOnce && c.Delivery != queue {
		errs = append(errs, fmt.Errorf("MILLRACE_DELIVERY: %q is none of at-least-once, exactly-once and queue", c.Delivery))
	}
	names := make(map[string]bool)
	for _, m := range c.Models {
		if m.name != "" && names[m.name] {
			errs = append(errs, fmt.Errorf("MILLRACE_MODEL: the name %q is given twice", m.name))
		}
		names[m.name] = true
	}
	return errors.Join(append(errs, checkAddr("ADMIN_ADDR", c.AdminAddr))...)
}

func checkAddr(name, addr string) error {
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return fmt.Errorf("MILLRACE_%s: %q is not host:port or :port", name, addr)
	}
	return nil
}

// modelRef is one reference of MILLRACE_MODEL, with the name given to it.
type modelRef struct {
	name     string
	text     string
	onDemand bool // a request has named it
}

// UnmarshalText reads "reference" or "name=reference".
func (m *modelRef) UnmarshalText(text []byte) error {
	*m = modelRef{text: string(text)}
	if name, rest, ok := strings.Cut(m.text, "="); ok && name != "" && !strings.ContainsAny(name, `:/\.`) {
		m.name, m.text = name, rest
	}
	if m.text == bundledRef {
		return nil
	}
	if remote.IsRef(m.text) {
		_, err := remote.ParseRef(m.text)
		return err
	}
	_, err := mlflow.ParseRef(m.text)
	return err
}

// String is the form that it was read from.
func (m modelRef) String() string {
	if m.name == "" {
		return m.text
	}
	return m.name + "=" + m.text
}

// workerConfig is all that `millrace worker` can be told.
type workerConfig struct {
	Pool        poolConfig         `envPrefix:"MILLRACE_"`
	Kafka       kafka.Config       `envPrefix:"MILLRACE_"`
	Topics      kafka.Topics       `envPrefix:"MILLRACE_"`
	Consumer    consumer.Config    `envPrefix:"MILLRACE_"`
	Transaction transaction.Config `envPrefix:"MILLRACE_"`
	Queue       sharegroup.Config  `envPrefix:"MILLRACE_"`
	Worker      worker.Config      `envPrefix:"MILLRACE_"`
	Producer    producer.Config    `envPrefix:"MILLRACE_"`
	Follow      follow.Config      `envPrefix:"MILLRACE_"`
	Shares      sharesConfig       `envPrefix:"MILLRACE_"`
	Split       split.Config       `envPrefix:"MILLRACE_"`
	Shadow      shadow.Config      `envPrefix:"MILLRACE_"`
	Announce    announce.Config    `envPrefix:"MILLRACE_"`
	Source      sourceConfig
	Traces      otlp.Config
	Log         logConfig `envPrefix:"MILLRACE_"`
}

// gatewayConfig is all that `millrace gateway` can be told.
type gatewayConfig struct {
	Kafka   kafka.Config   `envPrefix:"MILLRACE_"`
	Gateway gateway.Config `envPrefix:"MILLRACE_"`
	Traces  otlp.Config
	Log     logConfig `envPrefix:"MILLRACE_"`
}

// upConfig is all that `millrace up` can be told: a worker, a gateway, and the
// broker that it carries.
type upConfig struct {
	Worker  workerConfig
	Gateway gateway.Config `envPrefix:"MILLRACE_"`
	Broker  brokerConfig   `envPrefix:"MILLRACE_"`
}

// brokerConfig is the broker in the process of `millrace up`.
type brokerConfig struct {
	Port    int    `env:"UP_KAFKA_PORT" envDefault:"9092" help:"Loopback port of the broker that up carries; 0 takes a free one."`
	DataDir string `env:"UP_DATA_DIR" help:"Folder that up's broker keeps topics and offsets in; empty: a temporary one that is removed at the end."`
}

// Validate reports a mistake with the variable that holds it.
func (c brokerConfig) Validate() error {
	if c.Port < 0 || c.Port > 65535 {
		return fmt.Errorf("MILLRACE_UP_KAFKA_PORT: %d is no port", c.Port)
	}
	return nil
}
