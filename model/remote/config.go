package remote

import (
	"errors"
	"fmt"
	"time"
)

// Config is how endpoints are called. All of them share it; an endpoint's own
// credentials go into its reference's URL.
type Config struct {
	Timeout         time.Duration `env:"REMOTE_TIMEOUT" envDefault:"10s" help:"Longest that a call of a remote model may take, its tries together."`
	Attempts        int           `env:"REMOTE_ATTEMPTS" envDefault:"3" help:"Tries of a call of a remote model that no byte of an answer came to, or an answer to try again (429, 503)."`
	RetryAfter      time.Duration `env:"REMOTE_RETRY_AFTER" envDefault:"2s" help:"Longest Retry-After of a remote model that is waited for within a call."`
	Concurrency     int           `env:"REMOTE_CONCURRENCY" envDefault:"16" help:"Requests to the endpoint of a remote model that may run at a time."`
	MaxResponse     int64         `env:"REMOTE_MAX_RESPONSE_BYTES" envDefault:"67108864" help:"Bytes of the largest answer of a remote model, after decompression."`
	BreakerFailures int           `env:"REMOTE_BREAKER_FAILURES" envDefault:"5" help:"Failures of an endpoint in a row after which it is left alone."`
	BreakerOpen     time.Duration `env:"REMOTE_BREAKER_OPEN" envDefault:"5s" help:"How long a failing endpoint is left alone before one request tries it."`
	CAFile          string        `env:"REMOTE_CA_FILE" help:"PEM file of the authorities to trust for remote models; empty: those of the system."`
	Token           string        `env:"REMOTE_TOKEN" secret:"true" help:"Bearer token for every remote model whose URL holds no credentials."`
	TokenFile       string        `env:"REMOTE_TOKEN_FILE" help:"File with the bearer token, read again when it changes."`
	Username        string        `env:"REMOTE_USERNAME" help:"For Basic authentication at every remote model whose URL holds no credentials."`
	Password        string        `env:"REMOTE_PASSWORD" secret:"true" help:"For Basic authentication at remote models."`
	PasswordFile    string        `env:"REMOTE_PASSWORD_FILE" help:"File with the password, read again when it changes."`
	Gzip            bool          `env:"REMOTE_GZIP" envDefault:"false" help:"Compress requests to remote models, and ask for compressed answers."`

	RetryBase time.Duration `env:"-"` // first wait between tries, 50 ms when 0
}

// maxConcurrency is far beyond what an endpoint takes; more is a mistake.
const maxConcurrency = 4096

// Validate reports every mistake, each with the variable that holds it.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, name, want string, v any) {
		if !ok {
			errs = append(errs, fmt.Errorf("MILLRACE_%s: %v is not %s", name, v, want))
		}
	}
	check(c.Timeout > 0, "REMOTE_TIMEOUT", "above 0", c.Timeout)
	check(c.Attempts > 0, "REMOTE_ATTEMPTS", "above 0", c.Attempts)
	check(c.RetryAfter >= 0, "REMOTE_RETRY_AFTER", "0 or above", c.RetryAfter)
	check(c.Concurrency > 0 && c.Concurrency <= maxConcurrency, "REMOTE_CONCURRENCY", fmt.Sprintf("between 1 and %d", maxConcurrency), c.Concurrency)
	check(c.MaxResponse > 0, "REMOTE_MAX_RESPONSE_BYTES", "above 0", c.MaxResponse)
	check(c.BreakerFailures > 0, "REMOTE_BREAKER_FAILURES", "above 0", c.BreakerFailures)
	check(c.BreakerOpen > 0, "REMOTE_BREAKER_OPEN", "above 0", c.BreakerOpen)
	ways := 0
	for _, given := range []bool{c.Token != "", c.TokenFile != "", c.Username != ""} {
		if given {
			ways++
		}
	}
	if ways > 1 {
		errs = append(errs, errors.New("MILLRACE_REMOTE_TOKEN, MILLRACE_REMOTE_TOKEN_FILE and MILLRACE_REMOTE_USERNAME: set one of them"))
	}
	if c.Password != "" && c.PasswordFile != "" {
		errs = append(errs, errors.New("MILLRACE_REMOTE_PASSWORD and MILLRACE_REMOTE_PASSWORD_FILE: set one of them"))
	}
	if (c.Username != "") != (c.Password != "" || c.PasswordFile != "") {
		errs = append(errs, errors.New("MILLRACE_REMOTE_USERNAME and a password: they are set together"))
	}
	return errors.Join(errs...)
}
