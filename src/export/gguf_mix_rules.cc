#include "export/gguf_mix_rules.h"

#include <array>

namespace coldpress::mix {
namespace {

using Set = uint64_t;
template <typename... Ids>
constexpr Set of(Ids... ids) {
  return ((Set{1} << ids) | ...);
}

constexpr auto kRows = std::to_array<Row>({
    {kQ1_0, "Q1_0", "", 40, "q1_0"},
    {kQ2_0, "Q2_0", "", 41, "q2_0"},
    {kQ4_0, "Q4_0", "", 2, "q4_0"},
    {kQ4_1, "Q4_1", "", 3, "q4_1"},
    {kMxfp4Moe, "MXFP4_MOE", "", 38, "mxfp4"},
    {kQ5_0, "Q5_0", "", 8, "q5_0"},
    {kQ5_1, "Q5_1", "", 9, "q5_1"},
    {kIq2Xxs, "IQ2_XXS", "", 19, "iq2_xxs"},
    {kIq2Xs, "IQ2_XS", "", 20, "iq2_xs"},
    {kIq2S, "IQ2_S", "", 28, "iq2_xs"},
    {kIq2M, "IQ2_M", "", 29, "iq2_s"},
    {kIq1S, "IQ1_S", "", 24, "iq1_s"},
    {kIq1M, "IQ1_M", "", 31, "iq1_m"},
    {kTq1_0, "TQ1_0", "", 36, "tq1_0"},
    {kTq2_0, "TQ2_0", "", 37, "tq2_0"},
    {kQ2K, "Q2_K", "", 10, "q2_K"},
    {kQ2KS, "Q2_K_S", "", 21, "q2_K"},
    {kIq3Xxs, "IQ3_XXS", "", 23, "iq3_xxs"},
    {kIq3S, "IQ3_S", "", 26, "iq3_s"},
    {kIq3M, "IQ3_M", "", 27, "iq3_s"},
    {kIq3Xs, "IQ3_XS", "", 22, "iq3_s"},
    {kQ3KS, "Q3_K_S", "", 11, "q3_K"},
    {kQ3KM, "Q3_K_M", "Q3_K", 12, "q3_K"},
    {kQ3KL, "Q3_K_L", "", 13, "q3_K"},
    {kIq4Nl, "IQ4_NL", "", 25, "iq4_nl"},
    {kIq4Xs, "IQ4_XS", "", 30, "iq4_xs"},
    {kQ4KS, "Q4_K_S", "", 14, "q4_K"},
    {kQ4KM, "Q4_K_M", "Q4_K", 15, "q4_K"},
    {kQ5KS, "Q5_K_S", "", 16, "q5_K"},
    {kQ5KM, "Q5_K_M", "Q5_K", 17, "q5_K"},
    {kQ6K, "Q6_K", "", 18, "q6_K"},
    {kQ8_0, "Q8_0", "", 7, "q8_0"},
    {kF16, "F16", "", 1, "f16"},
    {kBF16, "BF16", "", 32, "bf16"},
    {kF32, "F32", "", 0, "f32"},
});

// Mixes below about 2.7 bits have rules of their own for the blocks: nothing else applies there.
constexpr Set kOneBit = of(kIq1S, kIq1M);
constexpr Set kTwoBit = of(kIq2S, kIq2M);
constexpr Set kLow = kOneBit | kTwoBit | of(kIq2Xxs, kIq2Xs);
constexpr Set kAny = ~Set{0};
constexpr Set kRest = kAny & ~kLow;
// Mixes that keep attention's output at five bits where eight experts make the rest so large.
constexpr Set kSpareOutput =
    of(kQ2K, kIq3Xs, kIq3Xxs, kQ3KS, kQ3KM, kIq4Nl, kQ4KS, kQ4KM, kIq3S, kIq3M, kIq4Xs);

// Conditions.
using When = bool (*)(const Place&);
bool always(const Place&) { return true; }
bool eight(const Place& p) { return p.experts == 8; }
bool wide(const Place& p) { return p.gqa >= 4; }
bool wide_or_experts(const Place& p) { return p.gqa >= 4 || p.experts >= 4; }
bool blind(const Place& p) { return !p.has_imatrix; }
bool first_two(const Place& p) { return p.turn < 2; }
bool first_four(const Place& p) { return p.turn < 4; }
bool first_eighth_by_turn(const Place& p) { return p.turn < p.turns / 8; }
bool first_eighth(const Place& p) { return p.layer < p.turns / 8; }
bool first_sixteenth(const Place& p) { return p.layer < p.turns / 16; }
// The first and the last eighth, and every third layer between them.
bool spread(int64_t i, int64_t n) { return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2; }
bool spread_by_turn(const Place& p) { return spread(p.turn, p.turns); }
bool spread_layer(const Place& p) { return spread(p.layer, p.turns); }
bool falcon(const Place& p) { return p.is_falcon; }
bool falcon_first_sixteenth(const Place& p) { return p.is_falcon && first_sixteenth(p); }
bool falcon_spread(const Place& p) { return p.is_falcon && spread_layer(p); }
bool others_spread(const Place& p) { return !p.is_falcon && spread_layer(p); }
bool others_first_eighth(const Place& p) { return !p.is_falcon && first_eighth(p); }
bool others_or_spread(const Place& p) { return !p.is_falcon || spread_layer(p); }
bool others_eight(const Place& p) { return !p.is_falcon && p.experts == 8; }
bool others_few(const Place& p) { return !p.is_falcon && p.experts != 8; }
bool blind_first_eighth(const Place& p) { return !p.has_imatrix && first_eighth(p); }
bool seeing_first_eighth(const Place& p) { return p.has_imatrix && first_eighth(p); }
bool first_eighth_or_eight_spread(const Place& p) {
  return first_eighth(p) || (eight(p) && spread_layer(p));
}
bool middle(const Place& p) { return p.layer >= p.turns / 8 && p.layer < 7 * p.turns / 8; }
bool stack(const Place& p) { return p.is_stack; }
bool falcon_or_misfit(const Place& p) { return p.is_falcon || !p.fits_own_type; }

constexpr std::string_view kOwn = "";  // the mix's own type, whatever later rules say

struct Rule {
  Part part;
  Set mixes;
  When when;
  std::string_view type;
};

// The first that applies decides; none: the mix's own type.
constexpr auto kRules = std::to_array<Rule>({
    {Part::kHead, kAny, falcon_or_misfit, "q8_0"},
    {Part::kHead, kLow | of(kIq3Xxs), always, "q5_K"},
    {Part::kHead, of(kQ8_0), always, kOwn},
    {Part::kHead, kAny, always, "q6_K"},

    {Part::kEmbedding, of(kIq2Xxs, kIq2Xs) | kOneBit, always, "q2_K"},
    {Part::kEmbedding, kTwoBit | of(kIq3Xxs), always, "iq3_s"},
    {Part::kEmbedding, of(kTq1_0, kTq2_0, kQ2_0), always, "q4_K"},

    {Part::kValue, kLow, wide_or_experts, "q4_K"},
    {Part::kValue, kTwoBit, always, "iq3_s"},
    {Part::kValue, kLow, always, "q2_K"},
    {Part::kValue, kRest, eight, "q8_0"},
    {Part::kValue, of(kQ2K, kQ2KS, kIq3Xxs, kIq3Xs, kIq3S), wide, "q4_K"},
    {Part::kValue, of(kQ2K), always, "q3_K"},
    {Part::kValue, of(kIq3Xxs), blind, "iq3_s"},
    {Part::kValue, of(kQ3KM), first_two, "q5_K"},
    {Part::kValue, of(kIq3M, kQ3KM), always, "q4_K"},
    {Part::kValue, of(kQ3KL), always, "q5_K"},
    {Part::kValue, of(kIq4Nl, kIq4Xs), wide, "q5_K"},
    {Part::kValue, of(kQ4KM, kQ5KM), spread_by_turn, "q6_K"},
    {Part::kValue, of(kQ4KS), first_four, "q5_K"},

    {Part::kKey, kLow, eight, "q4_K"},
    {Part::kKey, kRest, eight, "q8_0"},
    {Part::kKey, of(kIq3Xs), always, "iq3_xxs"},
    {Part::kKey, of(kIq3Xxs), always, "iq2_s"},

    {Part::kQuery, of(kIq3Xs), always, "iq3_xxs"},
    {Part::kQuery, of(kIq3Xxs), always, "iq2_s"},

    {Part::kAttentionOutput, kLow, eight, "q5_K"},
    {Part::kAttentionOutput, kOneBit, always, "iq2_xxs"},
    {Part::kAttentionOutput, kTwoBit, always, "iq3_s"},
    {Part::kAttentionOutput, kSpareOutput, others_eight, "q5_K"},
    {Part::kAttentionOutput, of(kQ2K), others_few, "q3_K"},
    {Part::kAttentionOutput, of(kIq3Xxs), others_few, "iq3_s"},
    {Part::kAttentionOutput, of(kQ3KM, kIq3M), others_few, "q4_K"},
    {Part::kAttentionOutput, of(kQ3KL), others_few, "q5_K"},
    {Part::kAttentionOutput, of(kQ3KL), falcon, "q4_K"},

    {Part::kGate, of(kIq3Xs), middle, "iq3_xxs"},
    {Part::kUp, of(kIq3Xs), middle, "iq3_xxs"},

    {Part::kDown, kTwoBit, first_eighth_by_turn, "iq3_s"},
    {Part::kDown, kLow, first_eighth_by_turn, "q2_K"},
    {Part::kDown, of(kQ2K), always, "q3_K"},
    {Part::kDown, of(kQ2KS), first_eighth, "q4_K"},
    {Part::kDown, of(kIq3Xxs), blind_first_eighth, "q4_K"},
    {Part::kDown, of(kIq3Xxs), blind, "q3_K"},
    {Part::kDown, of(kQ3KM), first_sixteenth, "q5_K"},
    {Part::kDown, of(kQ3KM), others_or_spread, "q4_K"},
    {Part::kDown, of(kIq3M), first_eighth_or_eight_spread, "q4_K"},
    {Part::kDown, of(kQ3KL), falcon, "q4_K"},
    {Part::kDown, of(kQ3KL), always, "q5_K"},
    {Part::kDown, of(kQ4KM), falcon_first_sixteenth, "q6_K"},
    {Part::kDown, of(kQ4KM), falcon_spread, "q5_K"},
    {Part::kDown, of(kQ4KM), others_spread, "q6_K"},
    {Part::kDown, of(kQ5KM), spread_layer, "q6_K"},
    {Part::kDown, of(kIq4Nl, kIq4Xs), blind_first_eighth, "q5_K"},
    {Part::kDown, of(kQ4KS), others_first_eighth, "q5_K"},
    {Part::kDown, of(kQ4_0), seeing_first_eighth, "q4_1"},
    {Part::kDown, of(kQ5_0), seeing_first_eighth, "q5_1"},
});

// MXFP4 is for experts; everything else of that mix has eight bits.
constexpr auto kMxfp4Rules = std::to_array<Rule>({
    {Part::kHead, kAny, always, "q8_0"},
    {Part::kOther, kAny, stack, "mxfp4"},
    {Part::kOther, kAny, always, "q8_0"},
});

struct StandIn {
  std::string_view type;
  std::string_view instead;
};
constexpr auto kStandIns = std::to_array<StandIn>({
    {"iq1_s", "iq4_nl"},
    {"iq1_m", "iq4_nl"},
    {"iq2_xxs", "iq4_nl"},
    {"iq2_xs", "iq4_nl"},
    {"iq2_s", "iq4_nl"},
    {"iq3_xxs", "iq4_nl"},
    {"iq3_s", "iq4_nl"},
    {"iq4_xs", "iq4_nl"},
    {"q2_0", "q4_0"},
    {"q2_K", "q4_0"},
    {"q3_K", "q4_0"},
    {"tq1_0", "q4_0"},
    {"tq2_0", "q4_0"},
    {"q4_K", "q5_0"},
    {"q5_K", "q5_1"},
    {"q6_K", "q8_0"},
});

}  // namespace

std::span<const Row> rows() { return kRows; }

std::optional<std::string_view> type_of(Id mix, Part part, const Place& place) {
  std::string_view type = kOwn;
  const bool is_mxfp4 = mix == kMxfp4Moe;
  if (is_mxfp4 && part != Part::kHead) part = Part::kOther;
  const std::span<const Rule> rules =
      is_mxfp4 ? std::span<const Rule>(kMxfp4Rules) : std::span<const Rule>(kRules);
  for (const Rule& rule : rules) {
    if (rule.part != part || (rule.mixes & of(mix)) == 0 || !rule.when(place)) continue;
    type = rule.type;
    break;
  }
  // Few values per query head: more bits for them cost next to nothing.
  const std::string_view chosen = type.empty() ? place.own_type : type;
  if (part == Part::kValue && place.is_70b && (kRest & of(mix)) != 0 &&
      (chosen == "q3_K" || chosen == "q4_K")) {
    type = "q5_K";
  }
  if (type.empty()) return std::nullopt;
  return type;
}

std::optional<std::string_view> stand_in(std::string_view type) {
  for (const StandIn& row : kStandIns) {
    if (row.type == type) return row.instead;
  }
  return std::nullopt;
}

}  // namespace coldpress::mix
