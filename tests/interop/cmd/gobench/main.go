// Times the official Go client against the server that OMNI_ENDPOINT names, to be set beside other clients.
//
// Every measurement prints one JSON line: its name, how many operations it counts, and the seconds that they took. With
// -turns nothing is measured until a line on standard input names what to measure: a caller that times another client in
// between lets the machine's moods hit both.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/siderolabs/omni/client/pkg/client"
	"github.com/siderolabs/omni/client/pkg/omni/resources/omni"
)

// How many callers share one connection in the concurrent measurement.
const callers = 16

// line is one measurement: operations is what one round counts, seconds what each round took.
type line struct {
	Name       string    `json:"name"`
	Operations int       `json:"operations"`
	Seconds    []float64 `json:"seconds"`
}

// bench holds what the measurements share.
type bench struct {
	endpoint string
	key      string
	prefix   string
	state    state.State
	kind     resource.Kind
	first    resource.Pointer
	gets     int
	writes   int
	round    int
}

// measurement does its work and returns how many operations it did, and the time of these without what prepares them.
type measurement func(context.Context, *bench) (int, time.Duration, error)

// names gives the order: destroy removes what create made and update changed.
var names = []string{"connect", "get", "get16", "list", "watch", "watchone", "create", "update", "latency", "destroy"}

var measurements = map[string]measurement{
	"connect":  connect,
	"get":      get,
	"get16":    getConcurrently,
	"list":     list,
	"watch":    watch,
	"watchone": watchOneByOne,
	"create":   create,
	"update":   update,
	"latency":  latency,
	"destroy":  destroy,
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	resources := flag.Int("resources", 1000, "machine classes that exist while it measures; 0 takes what there is")
	gets := flag.Int("gets", 1000, "gets in a round")
	writes := flag.Int("writes", 500, "creates, updates and destroys in a round")
	rounds := flag.Int("rounds", 3, "rounds of each measurement")
	only := flag.String("only", strings.Join(names, ","), "what to measure")
	kind := flag.String("type", omni.MachineClassType, "the type to get, list and watch")
	namespace := flag.String("namespace", "default", "its namespace")
	prefix := flag.String("prefix", "gobench", "what the ids of its own resources begin with")
	turns := flag.Bool("turns", false, "measure one round of each name that is read from standard input")

	flag.Parse()

	b := &bench{
		endpoint: os.Getenv("OMNI_ENDPOINT"),
		key:      os.Getenv("OMNI_SERVICE_ACCOUNT_KEY"),
		prefix:   *prefix,
		kind:     resource.NewMetadata(*namespace, *kind, "", resource.VersionUndefined),
		gets:     *gets,
		writes:   *writes,
	}

	if b.endpoint == "" || b.key == "" {
		return errors.New("OMNI_ENDPOINT and OMNI_SERVICE_ACCOUNT_KEY name the server to measure")
	}

	omniClient, err := client.New(b.endpoint, client.WithServiceAccount(b.key))
	if err != nil {
		return err
	}

	defer omniClient.Close()

	b.state = omniClient.Omni().State()

	// No resource is made before the server has answered, so there is none to remove when it does not.
	if _, err = b.state.List(ctx, b.kind); err != nil {
		return err
	}

	defer b.remove(ctx, *resources)

	if err = b.fill(ctx, *resources); err != nil {
		return err
	}

	out := json.NewEncoder(os.Stdout)

	if *turns {
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			if err = b.measure(ctx, out, []string{strings.TrimSpace(lines.Text())}, 1); err != nil {
				return err
			}
		}

		return lines.Err()
	}

	if err = b.measure(ctx, out, strings.Split(*only, ","), *rounds); err != nil {
		return err
	}

	return out.Encode(map[string]any{"name": "memory", "peak_kib": peak()})
}

// fill makes sure that the resources which are got and listed exist, and remembers one of them.
func (b *bench) fill(ctx context.Context, count int) error {
	for number := range count {
		if err := b.state.Create(ctx, b.class("listed", number, "a")); err != nil && !state.IsConflictError(err) {
			return err
		}
	}

	items, err := b.state.List(ctx, b.kind)
	if err != nil {
		return err
	}

	if len(items.Items) == 0 {
		return fmt.Errorf("there is no resource of type %s in namespace %s", b.kind.Type(), b.kind.Namespace())
	}

	b.first = items.Items[0].Metadata()

	return nil
}

// remove takes away what fill made. What does not work here must not hide why the run ended.
func (b *bench) remove(ctx context.Context, count int) {
	for number := range count {
		if err := b.end(ctx, b.class("listed", number, "").Metadata()); err != nil {
			fmt.Fprintln(os.Stderr, "Warning: resources stay behind:", err)

			return
		}
	}
}

// end tears a resource down and destroys it; a server may be first to do the second.
func (b *bench) end(ctx context.Context, pointer resource.Pointer) error {
	if _, err := b.state.Teardown(ctx, pointer); err != nil && !state.IsNotFoundError(err) {
		return err
	}

	if err := b.state.Destroy(ctx, pointer); err != nil && !state.IsNotFoundError(err) {
		return err
	}

	return nil
}

func (b *bench) class(group string, number int, zone string) *omni.MachineClass {
	class := omni.NewMachineClass(fmt.Sprintf("%s-%s-%05d", b.prefix, group, number))
	class.TypedSpec().Value.MatchLabels = []string{"zone = " + zone}

	return class
}

// measure goes round by round, so that writes find what the write before them left.
func (b *bench) measure(ctx context.Context, out *json.Encoder, names []string, rounds int) error {
	lines := map[string]*line{}

	for range rounds {
		b.round++

		for _, name := range names {
			count, took, err := b.once(ctx, name)
			if err != nil {
				return err
			}

			if lines[name] == nil {
				lines[name] = &line{Name: name}
			}

			lines[name].Operations = count
			lines[name].Seconds = append(lines[name].Seconds, took.Seconds())
		}
	}

	for _, name := range names {
		if err := out.Encode(lines[name]); err != nil {
			return err
		}
	}

	return nil
}

func (b *bench) once(ctx context.Context, name string) (int, time.Duration, error) {
	work, ok := measurements[name]
	if !ok {
		return 0, 0, fmt.Errorf("%q is not among %s", name, strings.Join(names, ", "))
	}

	count, took, err := work(ctx, b)
	if err != nil {
		return 0, 0, fmt.Errorf("%s: %w", name, err)
	}

	return count, took, nil
}

func connect(ctx context.Context, b *bench) (int, time.Duration, error) {
	begun := time.Now()

	fresh, err := client.New(b.endpoint, client.WithServiceAccount(b.key))
	if err != nil {
		return 0, 0, err
	}

	defer fresh.Close()

	_, err = fresh.Omni().State().Get(ctx, b.first)

	return 1, time.Since(begun), err
}

func get(ctx context.Context, b *bench) (int, time.Duration, error) {
	begun := time.Now()

	for range b.gets {
		if _, err := b.state.Get(ctx, b.first); err != nil {
			return 0, 0, err
		}
	}

	return b.gets, time.Since(begun), nil
}

func getConcurrently(ctx context.Context, b *bench) (int, time.Duration, error) {
	var (
		group    sync.WaitGroup
		failures = make(chan error, callers)
		share    = b.gets / callers
		begun    = time.Now()
	)

	for range callers {
		group.Go(func() {
			for range share {
				if _, err := b.state.Get(ctx, b.first); err != nil {
					failures <- err

					return
				}
			}
		})
	}

	group.Wait()

	took := time.Since(begun)

	select {
	case err := <-failures:
		return 0, 0, err
	default:
		return share * callers, took, nil
	}
}

func list(ctx context.Context, b *bench) (int, time.Duration, error) {
	begun := time.Now()
	items, err := b.state.List(ctx, b.kind)

	return len(items.Items), time.Since(begun), err
}

// watch counts the resources that a watch brings until it has caught up.
func watch(ctx context.Context, b *bench) (int, time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	var (
		events = make(chan []state.Event)
		begun  = time.Now()
		count  int
	)

	if err := b.state.WatchKindAggregated(ctx, b.kind, events, state.WithBootstrapContents(true)); err != nil {
		return 0, 0, err
	}

	for batch := range events {
		for _, event := range batch {
			switch event.Type {
			case state.Created:
				count++
			case state.Bootstrapped:
				return count, time.Since(begun), nil
			case state.Errored:
				return 0, 0, event.Error
			case state.Updated, state.Destroyed, state.Noop:
			}
		}
	}

	return 0, 0, errors.New("the watch ended before it had caught up")
}

// watchOneByOne does the same with a message for each resource, as omnictl's watches do.
func watchOneByOne(ctx context.Context, b *bench) (int, time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	var (
		events = make(chan state.Event)
		begun  = time.Now()
		count  int
	)

	if err := b.state.WatchKind(ctx, b.kind, events, state.WithBootstrapContents(true)); err != nil {
		return 0, 0, err
	}

	for event := range events {
		switch event.Type {
		case state.Created:
			count++
		case state.Bootstrapped:
			return count, time.Since(begun), nil
		case state.Errored:
			return 0, 0, event.Error
		case state.Updated, state.Destroyed, state.Noop:
		}
	}

	return 0, 0, errors.New("the watch ended before it had caught up")
}

func create(ctx context.Context, b *bench) (int, time.Duration, error) {
	// A round that measured creation only has left them.
	for number := range b.writes {
		if err := b.end(ctx, b.class("written", number, "").Metadata()); err != nil {
			return 0, 0, err
		}
	}

	begun := time.Now()

	for number := range b.writes {
		if err := b.state.Create(ctx, b.class("written", number, "a")); err != nil {
			return 0, 0, err
		}
	}

	return b.writes, time.Since(begun), nil
}

// update sends one call for each resource: reading them first is not part of it.
func update(ctx context.Context, b *bench) (int, time.Duration, error) {
	classes := make([]*omni.MachineClass, b.writes)

	for number := range b.writes {
		class, err := safe.StateGet[*omni.MachineClass](ctx, b.state, b.class("written", number, "").Metadata())
		if err != nil {
			return 0, 0, err
		}

		class.TypedSpec().Value.MatchLabels = []string{fmt.Sprintf("round = %d", b.round)}
		classes[number] = class
	}

	begun := time.Now()

	for _, class := range classes {
		if err := b.state.Update(ctx, class); err != nil {
			return 0, 0, err
		}
	}

	return b.writes, time.Since(begun), nil
}

// latency times how long a change takes to come back as an event, one after the other, the call that makes it included.
func latency(ctx context.Context, b *bench) (int, time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	pointer := b.class("written", 0, "").Metadata()
	events := make(chan state.Event)

	if err := b.state.Watch(ctx, pointer, events); err != nil {
		return 0, 0, err
	}

	class, err := safe.StateGet[*omni.MachineClass](ctx, b.state, pointer)
	if err != nil {
		return 0, 0, err
	}

	begun := time.Now()

	for number := range b.writes {
		class.TypedSpec().Value.MatchLabels = []string{fmt.Sprintf("seen = %d.%d", b.round, number)}

		if err = b.state.Update(ctx, class); err != nil {
			return 0, 0, err
		}

		for seen := false; !seen; {
			select {
			case event := <-events:
				seen = event.Resource != nil && event.Resource.Metadata().Version().Equal(class.Metadata().Version())
			case <-ctx.Done():
				return 0, 0, ctx.Err()
			}
		}
	}

	return b.writes, time.Since(begun), nil
}

// destroy times what deleting a resource is: teardown, then destroy, of which a server's own clean-up may be first.
func destroy(ctx context.Context, b *bench) (int, time.Duration, error) {
	begun := time.Now()

	for number := range b.writes {
		if err := b.end(ctx, b.class("written", number, "").Metadata()); err != nil {
			return 0, 0, err
		}
	}

	return b.writes, time.Since(begun), nil
}

// peak returns the most memory that this process has had, in KiB.
func peak() int64 {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}

	return usage.Maxrss
}
