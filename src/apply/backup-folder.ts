/**
 * Names of the folders that backups are kept in: the UTC time of the first thing in them, such as
 * `2026-11-23T14-05-09Z`. Proleptic Gregorian calendar, years 0000 to 9999.
 * Source: ISO 8601; days from civil, howardhinnant.github.io/date_algorithms.html.
 */

const dayMs = 86_400_000;
/** Days of 400 years. */
const eraDays = 146_097;

/** The name of a folder that begins at this time: milliseconds since 1970, UTC. */
export function folderName(wallMs: number): string {
  const days = Math.floor(wallMs / dayMs);
  const seconds = Math.floor((wallMs - days * dayMs) / 1000);
  const [year, month, day] = dateOf(days);
  const two = (value: number): string => String(value).padStart(2, "0");
  const date = `${String(year).padStart(4, "0")}-${two(month)}-${two(day)}`;
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return `${date}T${two(hours)}-${two(minutes)}-${two(seconds % 60)}Z`;
}

/** The time that a name of exactly this form says; undefined for every other name. */
export function folderTimeMs(name: string): number | undefined {
  const match = /^(\d{4})-(\d\d)-(\d\d)T(\d\d)-(\d\d)-(\d\d)Z$/.exec(name);
  if (match === null) return undefined;
  const [year, month, day, hours, minutes, seconds] = match.slice(1).map(Number);
  const secondsOfDay = hours! * 3600 + minutes! * 60 + seconds!;
  const wallMs = daysOf(year!, month!, day!) * dayMs + secondsOfDay * 1000;
  // A 30th of February, or 25 o'clock, would come out as another name.
  return folderName(wallMs) === name ? wallMs : undefined;
}

/** Days since 1970. The year begins in March, so that the odd day is its last. */
function daysOf(year: number, month: number, day: number): number {
  const shifted = month <= 2 ? year - 1 : year;
  const era = Math.floor(shifted / 400);
  const yearOfEra = shifted - era * 400;
  const dayOfYear = Math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1;
  const leapDays = Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100);
  return era * eraDays + yearOfEra * 365 + leapDays + dayOfYear - 719_468;
}

function dateOf(days: number): [number, number, number] {
  const shifted = days + 719_468;
  const era = Math.floor(shifted / eraDays);
  const dayOfEra = shifted - era * eraDays;
  const leapDays =
    Math.floor(dayOfEra / 1460) - Math.floor(dayOfEra / 36_524) + Math.floor(dayOfEra / 146_096);
  const yearOfEra = Math.floor((dayOfEra - leapDays) / 365);
  const dayOfYear =
    dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shiftedMonth = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * shiftedMonth + 2) / 5) + 1;
  const month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9;
  return [yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day];
}
