# lfm2: `make help` lists the targets.
BUILD   ?= build
ifeq ($(origin CC),default)
CC := gcc
endif
PKGS    := openblas hdf5 jansson libpcre2-8 nettle zlib
CSTD    := -std=gnu17
WARN    := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes -Wmissing-prototypes -Werror
# O3 for the vector kernels only; sanitizer builds set OPT themselves.
OPT     ?= -O2 -g
# No contraction and no fast-math: a sum means the same in every build. SAN is set by the asan and ubsan targets.
CFLAGS  += $(CSTD) $(OPT) -ffp-contract=off -pthread $(WARN) $(SAN)
CPPFLAGS += -I. -D_GNU_SOURCE $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LDLIBS  += $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lm -pthread
LDFLAGS += $(SAN)

LIB_SRC  := $(wildcard data/*.c reference/*.c optimized/*.c)
CMD_SRC  := lfm2.c $(wildcard bench/*.c eval/*.c eval/tasks/*.c)
# tests/ files without a Criterion include are shared with the program (kernel cases, checks).
TEST_SRC := $(wildcard tests/test_*.c)
CASE_SRC := $(filter-out $(TEST_SRC) $(wildcard tests/fuzz_*.c),$(wildcard tests/*.c))
objects   = $(patsubst %.c,$(BUILD)/%.o,$(1))

.DEFAULT_GOAL := all
.PHONY: all deps test chart kernels parity eval report check asan ubsan fuzz lint clean help

all: lfm2

lfm2: $(BUILD)/lfm2
	@cp -f $< $@

$(BUILD)/lfm2: $(call objects,$(CMD_SRC) $(CASE_SRC)) $(BUILD)/liblfm2.a
	@echo "  LINK    $@"
	@$(CC) $(LDFLAGS) $^ -o $@ $(LDLIBS)

$(BUILD)/liblfm2.a: $(call objects,$(LIB_SRC))
	@rm -f $@
	@ar rcs $@ $^

$(BUILD)/lfm2-tests: $(call objects,$(TEST_SRC) $(CASE_SRC) $(filter-out lfm2.c,$(CMD_SRC))) $(BUILD)/liblfm2.a
	@echo "  LINK    $@"
	@$(CC) $(LDFLAGS) $^ -o $@ $(LDLIBS) -lcriterion

# Stored with every result.
$(BUILD)/bench/machine.o: CPPFLAGS += -DBUILD_FLAGS='"$(strip $(CSTD) $(OPT) -ffp-contract=off $(SAN))"'

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo "  CC      $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

-include $(wildcard $(BUILD)/*.d $(BUILD)/*/*.d $(BUILD)/*/*/*.d)

clean:
	rm -rf $(BUILD) build build-* lfm2 out
