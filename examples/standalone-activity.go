// Asks for features through Temporal without a workflow. In a folder of its own, with this file:
//
//	go mod init example && go get go.temporal.io/sdk@v1.51.0
//	go run standalone-activity.go 11
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
)

func main() {
	id := "11"
	if len(os.Args) > 1 {
		id = os.Args[1]
	}
	address := cmp.Or(os.Getenv("TEMPORAL_ADDRESS"), "127.0.0.1:7233")
	temporalClient, err := client.Dial(client.Options{HostPort: address})
	if err != nil {
		log.Fatal(err)
	}
	defer temporalClient.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	activity, err := temporalClient.ExecuteActivity(ctx, client.StartActivityOptions{
		ID:        fmt.Sprintf("model_x-%s-%d", id, time.Now().UnixNano()),
		TaskQueue: cmp.Or(os.Getenv("ONCEFLOW_QUEUE"), "onceflow") + "-online",
		// Of one attempt, and of all of them with the waits between.
		StartToCloseTimeout:    2 * time.Second,
		ScheduleToCloseTimeout: 10 * time.Second,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: 100 * time.Millisecond},
	}, "getOnlineFeatures", map[string]any{
		"service":  "model_x",
		"entities": []map[string]string{{"id": id}},
	})
	if err != nil {
		log.Fatal(err)
	}
	var answer json.RawMessage
	if err := activity.Get(ctx, &answer); err != nil {
		// Such as UNKNOWN_SERVICE; docs/errors.md lists the codes.
		var failure *temporal.ApplicationError
		if errors.As(err, &failure) {
			log.Fatalf("%s: %s", failure.Type(), failure.Message())
		}
		log.Fatal(err)
	}
	fmt.Println(string(answer))
}
