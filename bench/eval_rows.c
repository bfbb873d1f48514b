/* SPDX-License-Identifier: Apache-2.0 */
/* eval_rows: the fields of the stored evaluations. */
#include "bench/eval_rows.h"

#define COUNT(a) (int)(sizeof(a) / sizeof *(a))
#define TABLE(name, type)                                                                                    \
    { name, type##_fields, COUNT(type##_fields), sizeof(struct type) }
#define F(member) F64(THIS, member)
#define I(member) I64(THIS, member)
#define T(member) TEXT_FIELD(THIS, member)

#define THIS eval_run_row
static const struct field eval_run_row_fields[] = {
    T(model),       T(recipe), T(engine), T(weights),  T(protocol), T(tasks),
    I(num_fewshot), I(limit),  I(chat),   I(context),  I(batch),    I(threads),
    I(processes),   I(prefix), I(items),  I(n_before), F(seconds),  F(load_seconds),
    F(items_s),     I(fed),    I(reused), T(kernels),
};
#undef THIS
#define THIS eval_row
static const struct field eval_row_fields[] = {
    T(model),    T(recipe),      T(engine), T(protocol),    T(suite), T(task),  T(parent),
    T(version),  T(filter),      T(metric), I(num_fewshot), I(chat),  I(limit), I(n),
    I(n_failed), I(n_truncated), F(value),  F(error),       F(lo),    F(hi),
};
#undef THIS
#define THIS eval_pair_row
static const struct field eval_pair_row_fields[] = {
    T(a),    T(b),       T(task),    T(filter),     T(metric), I(n),  I(gained),
    I(lost), F(value_a), F(value_b), F(difference), F(lo),     F(hi), F(p),
};
#undef THIS

const struct table eval_run_table = TABLE("eval_run", eval_run_row);
const struct table eval_table = TABLE("eval", eval_row);
const struct table eval_pairs_table = TABLE("eval_pairs", eval_pair_row);
